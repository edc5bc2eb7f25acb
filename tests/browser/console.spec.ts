// An operator's first day: from the one-time code to a member that is drained before a deploy.
//
// The tests run in order, on one appliance, with three origins behind it.

import { expect, type Locator, type Page, test } from "@playwright/test";

import { type Api, Appliance, PASSWORD, USER, freePort } from "./support/appliance";
import { expectAccessible } from "./support/axe";
import { Origin, spread } from "./support/origin";

const ORIGINS = ["web-1", "web-2", "web-3"].map((name) => new Origin(name));
const VIEWER = "watcher";

let appliance: Appliance;
let api: Api;
let port: number;

test.describe.configure({ mode: "serial" });

test.beforeAll(async () => {
  await Promise.all(ORIGINS.map((origin) => origin.start()));
  appliance = await Appliance.start();
  port = await freePort();
});

test.afterAll(async () => {
  await appliance?.stop();
  await Promise.all(ORIGINS.map((origin) => origin.stop()));
});

test("the one-time code makes the first administrator", async ({ page }) => {
  await page.goto(appliance.url);
  await expect(page.getByRole("heading", { name: "Welcome to your cluster" })).toBeVisible();
  await expectAccessible(page);

  await page.getByLabel("Setup code").fill("AAAA-AAAA-AAAA");
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByLabel("Repeat the password").fill(`${PASSWORD}!`);
  await page.getByRole("button", { name: "Create administrator" }).click();
  await expect(page.getByText("is not the same")).toBeVisible();

  await page.getByLabel("Repeat the password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create administrator" }).click();
  await expect(page.getByRole("alert")).toContainText("setup code");
  await expectAccessible(page);
  await shot(page, "set-up");

  await page.getByLabel("Setup code").fill(appliance.setupCode);
  await page.getByRole("button", { name: "Create administrator" }).click();
  await expect(page.getByRole("link", { name: "Overview" })).toBeVisible();
  await expect(page.getByText("No pools yet")).toBeVisible();
  await expectAccessible(page);
  api = await appliance.signIn();
});

test("a wrong password is refused, the right one opens the console", async ({ page }) => {
  await page.goto(appliance.url);
  await page.getByLabel("User name").fill(USER);
  await page.getByLabel("Password").fill("not this one");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).toContainText("You are not signed in");
  await expectAccessible(page);

  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("link", { name: "Overview" })).toBeVisible();

  await page.reload();
  await expect(page.getByRole("link", { name: "Overview" })).toBeVisible();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
});

test("a pool is made in the console and serves a virtual server", async ({ page }) => {
  await api.put("monitors/quick", {
    name: "quick",
    spec: {
      type: "http",
      interval_ms: 1_000,
      timeout_ms: 1_000,
      rise: 1,
      fall: 2,
      http: { path: "/health", expect_status: ["200"], expect_body: "well" },
    },
  });
  await signIn(page, "/pools");
  await page.getByRole("button", { name: "New pool" }).click();
  const dialog = page.getByRole("dialog", { name: "New pool" });
  await dialog.getByLabel("Name").first().fill("web");
  await dialog.getByLabel("Description").fill("The shop's front ends");
  await dialog.getByLabel("quick").check();
  for (const origin of ORIGINS) {
    await dialog.getByRole("button", { name: "Add member" }).click();
    await dialog.getByLabel("Address").last().fill("127.0.0.1");
    await dialog.getByLabel("Port").last().fill(String(origin.port));
    await dialog.getByLabel("Name").last().fill(origin.name);
  }

  await dialog.getByLabel("Address").last().fill("web.example");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog.getByText("is no IPv4 or IPv6 address")).toBeVisible();
  await expect(dialog.getByLabel("Address").last()).toBeFocused();
  await expectAccessible(page);

  await dialog.getByLabel("Address").last().fill("127.0.0.1");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByText("Pool web is saved")).toBeVisible();

  await api.put("virtual-servers/shop", {
    name: "shop",
    spec: { protocol: "http", addresses: ["127.0.0.1"], ports: [port], pool: "web" },
  });
  await page.getByRole("link", { name: "web", exact: true }).click();
  for (const origin of ORIGINS) {
    await expect(state(page, origin.name)).toContainText("Up");
  }
  await expect.poll(() => answering(30)).toEqual(["web-1", "web-2", "web-3"]);
  await expectAccessible(page);
});

test("a dead origin is seen at once, with the reason", async ({ page }) => {
  await signIn(page, "/pools/web");
  await expect(page.getByText("Live", { exact: true })).toBeVisible();
  await expect(state(page, "web-3")).toContainText("Up");
  // From here on nothing but the stream of events can bring news.
  await page.route("**/api/v1/status", () => new Promise(() => {}));
  await ORIGINS[2].stop();
  await expect(state(page, "web-3")).toContainText("Down");
  await expect(row(page, "web-3")).toContainText(/refused/i);
  await page.unroute("**/api/v1/status");

  await page.reload();
  await expect(row(page, "web-3")).toContainText(/refused/i);
  await expectAccessible(page);
  await expectTraffic(row(page, "web-1").getByText(/\/s$/), "0 /s");
  await shot(page, "pool");
  await page.getByRole("link", { name: "Overview" }).click();
  await expect(page.getByLabel("Health of the cluster")).toContainText("web-3");
  await expectTraffic(page.locator(".tile-value").first(), "0");
  await expectAccessible(page);
  await shot(page, "overview");
  await expect.poll(() => answering(20)).toEqual(["web-1", "web-2"]);

  await ORIGINS[2].start();
  await page.goto(`${appliance.url}/pools/web`);
  await expect(state(page, "web-3")).toContainText("Up");
  await expect.poll(() => answering(30)).toEqual(["web-1", "web-2", "web-3"]);
});

test("traffic follows what the operator does", async ({ page }) => {
  await signIn(page, "/pools/web");

  await act(page, "web-1", "Disable");
  await expect(page.getByText("web-1: disabled")).toBeVisible();
  await expect(state(page, "web-1")).toContainText("Disabled");
  expect(await answering(30)).toEqual(["web-2", "web-3"]);

  await act(page, "web-1", "Enable");
  await expect(page.getByText("web-1: enabled")).toBeVisible();
  await expect(state(page, "web-1")).toContainText("Up");
  expect(await answering(30)).toEqual(["web-1", "web-2", "web-3"]);

  await act(page, "web-2", "Drain…");
  const drain = page.getByRole("dialog", { name: "Drain web-2" });
  await expectAccessible(page);
  await drain.getByLabel("Cut the last sessions").selectOption({ label: "after 15 minutes" });
  await drain.getByRole("button", { name: "Drain" }).click();
  await expect(page.getByText("web-2: draining")).toBeVisible();
  await expect(state(page, "web-2")).toContainText("Draining");
  await expect(state(page, "web-2")).toContainText("sessions are cut in 14");
  expect(await answering(30)).toEqual(["web-1", "web-3"]);
  await shot(page, "drain");

  await act(page, "web-3", "Force offline");
  await page.getByRole("dialog").getByRole("button", { name: "Force offline" }).click();
  await expect(page.getByText("web-3: forced offline")).toBeVisible();
  await expect(state(page, "web-3")).toContainText("Forced offline");
  expect(await answering(30)).toEqual(["web-1"]);

  for (const name of ["web-2", "web-3"]) {
    await act(page, name, "Enable");
    await expect(state(page, name)).toContainText("Up");
  }
  await expect.poll(() => answering(30)).toEqual(["web-1", "web-2", "web-3"]);
});

test("a change that somebody else made meanwhile is not lost", async ({ page }) => {
  await signIn(page, "/pools/web");
  await page.getByRole("button", { name: "Edit" }).click();
  const dialog = page.getByRole("dialog", { name: "Edit pool web" });
  await dialog.getByLabel("Weight").first().fill("5");

  const pool = await api.get("pools/web");
  pool.description = "Changed by somebody else";
  await api.put("pools/web", pool);

  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog.getByRole("alert")).toContainText("It was not saved");
  await expectAccessible(page);
  await dialog.getByRole("button", { name: "Load the newest" }).click();
  await expect(dialog.getByLabel("Description")).toHaveValue("Changed by somebody else");
  await dialog.getByLabel("Weight").first().fill("5");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog).toBeHidden();
  const saved = await api.get("pools/web");
  expect(saved.description).toBe("Changed by somebody else");
  expect(saved.spec.members[0].weight).toBe(5);
});

test("a pool in use is not deleted", async ({ page }) => {
  await signIn(page, "/pools/web");
  await page.getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete pool web?" });
  await dialog.getByRole("button", { name: "Delete" }).click();
  await expect(dialog.getByRole("alert")).toContainText("virtual-servers/shop");
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
});

test("every page is accessible in both themes, on a desk and on a phone", async ({ page }) => {
  await signIn(page, "/");
  for (const path of ["/", "/virtual-servers", "/pools", "/pools/web", "/nodes", "/nowhere"]) {
    await page.goto(appliance.url + path);
    await expect(page.getByRole("heading", { level: 1 })).toBeAttached();
    await expect(page.getByText("Loading…")).toHaveCount(0);
    await expectAccessible(page);
    await page.setViewportSize({ width: 390, height: 844 });
    await expectAccessible(page);
    await page.setViewportSize({ width: 1360, height: 900 });
    if (path === "/virtual-servers" || path === "/nodes") {
      await shot(page, path.slice(1));
    }
  }
});

test("the console works from the keyboard", async ({ page }) => {
  await signIn(page, "/pools/web");
  await expect(row(page, "web-1")).toBeVisible();
  await page.locator("body").press("Tab");
  await expect(page.getByRole("link", { name: "Skip to content" })).toBeFocused();
  await page.getByRole("button", { name: "Drain… web-1" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog", { name: "Drain web-1" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await expect(page.getByRole("button", { name: "Drain… web-1" })).toBeFocused();
});

test("a viewer sees everything and can change nothing", async ({ page }) => {
  await api.put(`users/${VIEWER}`, { name: VIEWER, spec: { role: "viewer", password: PASSWORD } });
  await signIn(page, "/pools/web", VIEWER);
  await expect(state(page, "web-1")).toContainText("Up");
  for (const name of ["Edit", "Delete", "Disable web-1", "Drain… web-1", "Force offline web-1"]) {
    await expect(page.getByRole("button", { name })).toHaveCount(0);
  }
});

test("the console speaks Chinese and remembers it", async ({ page }) => {
  await signIn(page, "/");
  await page.getByRole("button", { name: "简体中文" }).click();
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-CN");
  await expect(page.getByRole("link", { name: "服务器池" })).toBeVisible();
  await page.reload();
  await expect(page.getByRole("link", { name: "概览" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-CN");
  await expectAccessible(page);
  await shot(page, "overview-zh");
  await page.getByRole("link", { name: "服务器池" }).click();
  await page.getByRole("link", { name: "web", exact: true }).click();
  await expect(state(page, "web-1")).toContainText("正常");
  await shot(page, "pool-zh");
});

test("an appliance that does not answer is said to be silent, and found again", async ({ page, context }) => {
  await signIn(page, "/pools/web");
  await expect(page.getByText("Live", { exact: true })).toBeVisible();
  await expect(state(page, "web-1")).toContainText("Up");
  await context.setOffline(true);
  await expect(page.getByText("No contact")).toBeVisible();
  await expect(page.getByText(/has not answered for .*: what you see is old/)).toBeVisible();
  await expectAccessible(page);
  await context.setOffline(false);
  await expect(page.getByText("No contact")).toBeHidden();
  await expect(page.getByText(/what you see is old/)).toBeHidden();
});

async function signIn(page: Page, path: string, user = USER): Promise<void> {
  await page.goto(appliance.url + path);
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("link", { name: "Overview" })).toBeVisible();
}

/** A member's row. */
function row(page: Page, member: string): Locator {
  return page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: member }) });
}

/** What the console says of a member as a whole. */
function state(page: Page, member: string): Locator {
  return row(page, member).getByRole("cell").first();
}

async function act(page: Page, member: string, action: string): Promise<void> {
  await page.getByRole("button", { name: `${action} ${member}`, exact: true }).click();
}

/** Who answers, by name. */
async function answering(count: number): Promise<string[]> {
  return Object.keys(await spread(port, count)).sort();
}

/** Sends requests until the console shows that they flow. */
async function expectTraffic(rate: Locator, none: string): Promise<void> {
  await expect
    .poll(async () => {
      await spread(port, 50);
      return rate.innerText();
    })
    .not.toBe(none);
}

async function shot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${__dirname}/screenshots/${name}.png`, fullPage: true, animations: "disabled" });
}

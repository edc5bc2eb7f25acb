// Floating addresses from the browser: groups are made, moved, kept from nodes, and lose an owner.
//
// The tests run in order, on two traffic nodes and a witness in a lab of network namespaces. The
// browser talks to node-1; what other nodes do must be seen there too.

import { expect, type Locator, type Page, test } from "@playwright/test";

import { type Api, USER } from "./support/appliance";
import { expectAccessible } from "./support/axe";
import { Lab } from "./support/lab";

const VIEWER = "onlooker";
/** One of the lab's origins: a gateway is whoever answers on the segment. */
const GATEWAY = "10.77.0.21";
const VIEWER_PASSWORD = "just looking around";

let lab: Lab;
let api: Api;

test.describe.configure({ mode: "serial" });

test.beforeAll(async () => {
  test.setTimeout(180_000);
  lab = await Lab.start();
  api = await lab.signIn("node-1");
});

test.afterAll(async () => {
  await lab?.stop();
});

test("an empty page says what to do, and the form makes a group that a node owns", async ({ page }) => {
  await signIn(page, "/ha");
  await expect(page.getByText("No traffic groups yet")).toBeVisible();
  await expect(nodeCard(page, "node-1")).toContainText("In service");
  await expectAccessible(page);

  await page.getByRole("button", { name: "New traffic group" }).click();
  const dialog = page.getByRole("dialog", { name: "New traffic group" });
  await dialog.getByLabel("Name", { exact: true }).fill("blue");
  await dialog.getByLabel("Address", { exact: true }).fill("10.77.0.300");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog.getByText("is no IPv4 or IPv6 address")).toBeVisible();
  await expect(dialog.getByLabel("Address", { exact: true })).toBeFocused();
  await expectAccessible(page);

  await dialog.getByLabel("Address", { exact: true }).fill("10.77.0.100");
  await dialog.getByRole("button", { name: "Add address" }).click();
  await dialog.getByLabel("Address", { exact: true }).last().fill("fd77:77::100");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByText("Traffic group blue is saved")).toBeVisible();
  await expect(cell(page, "blue", "node-1")).toContainText(/Active|Backup/);
  await settle("blue", "node-1");
  await expect(cell(page, "blue", "node-1")).toContainText("Active");
  await expect(cell(page, "blue", "node-2")).toContainText("Backup");
  await expect(cell(page, "blue", "node-2")).toContainText("next");
  await expect(page.getByText("Every group has one owner, and somebody to take over")).toBeVisible();
  await expectAccessible(page);
});

test("what the cluster refuses stands at its field; an order is made by hand", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "New traffic group" }).click();
  const dialog = page.getByRole("dialog", { name: "New traffic group" });
  const vrid = dialog.getByLabel("VRID");
  await expect(vrid, "the next one that is free is proposed").toHaveValue("52");
  await vrid.fill("51");
  await dialog.getByLabel("Name", { exact: true }).fill("green");
  await dialog.getByLabel("Address", { exact: true }).fill("10.77.0.101");
  await dialog.getByLabel("Every traffic node, by name").uncheck();
  await dialog.getByRole("button", { name: "Prefer more: node-2" }).click();
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog.getByText("traffic group blue has VRID 51")).toBeVisible();
  await expect(vrid).toBeFocused();

  await vrid.fill("52");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog).toBeHidden();
  await settle("green", "node-2");
  await expect(cell(page, "green", "node-2")).toContainText("Active");
  const saved = await api.get("traffic-groups/green");
  expect(saved.spec.nodes).toEqual(["node-2", "node-1"]);
  expect(saved.spec.virtual_router_id).toBe(52);
});

test("a group is moved by hand, and what was done is told step by step", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "Move blue" }).click();
  const dialog = page.getByRole("dialog", { name: "Move traffic group blue" });
  await expect(dialog.getByRole("radio", { name: /node-2/ })).toBeChecked();
  await expect(dialog.getByRole("row", { name: /node-2/ })).toContainText("blue, green");
  await expect(dialog.getByRole("row", { name: /node-2/ })).toContainText("1 → 2 of 100");
  await expectAccessible(page);
  await shot(page, "ha-move");

  await dialog.getByRole("button", { name: "Move", exact: true }).click();
  await expect(dialog.getByRole("status")).toContainText(/blue: node-1 → node-2 in [\d.]+ ms/);
  await expect(dialog.getByText("addresses announced")).toBeVisible();
  await expectAccessible(page);
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await expect(cell(page, "blue", "node-2")).toContainText("Active");
  await expect(cell(page, "blue", "node-2")).toContainText("moved by hand");
  await expect(cell(page, "blue", "node-1")).toContainText("Backup");
  expect(await owners("blue")).toEqual(["node-2"]);
  await expect(newest(page, "blue")).toContainText(/Moved here by an operator|A node with a higher priority/);
});

test("the timeline is told by group and in full", async ({ page }) => {
  await signIn(page, "/ha");
  const timeline = page.getByRole("region", { name: "Timeline" });
  const green = timeline.locator("strong", { hasText: "green" });
  await expect(green.first()).toBeVisible();
  await timeline.getByLabel("Traffic group").selectOption("blue");
  await expect(green).toHaveCount(0);
  const moves = timeline.getByRole("listitem").filter({ hasText: "Moved here by an operator" });
  const moved = moves.first();
  await moved.getByText("Details").click();
  await expect(moved.getByText("addresses added")).toBeVisible();
  await expect(moved).toContainText("Heard last");
  await expectAccessible(page);
  await shot(page, "ha");
});

test("what a group tracks is said in the form and seen on every node", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "Edit blue" }).click();
  const dialog = page.getByRole("dialog", { name: "Edit traffic group blue" });
  await dialog.getByRole("button", { name: "Add gateway" }).click();
  await dialog.getByLabel("Gateway", { exact: true }).fill("origin-1");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog.getByLabel("Gateway", { exact: true })).toBeFocused();
  await expect(dialog.getByText("is no IPv4 or IPv6 address")).toBeVisible();
  await dialog.getByLabel("Gateway", { exact: true }).fill(GATEWAY);
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog).toBeHidden();
  for (const node of ["node-1", "node-2"] as const) {
    const tracked = cell(page, "blue", node).getByRole("listitem");
    await expect(tracked).toHaveText(`gateway ${GATEWAY}Up`);
  }
  await expectAccessible(page);
  expect((await api.get("traffic-groups/blue")).spec.addresses, "the rest is kept").toHaveLength(2);
});

test("what if nodes die is answered while they are ticked", async ({ page }) => {
  await signIn(page, "/ha");
  const card = page.getByRole("region", { name: "What if" });
  await card.getByLabel("node-2").check();
  await expect(card.getByText("node-2 → node-1")).toHaveCount(2);
  await expect(card.getByRole("row", { name: /node-1/ })).toContainText("0 → 2 of 100");
  await card.getByLabel("node-1").check();
  await expect(card.getByText("node-2 → nobody")).toHaveCount(2);
  await expect(card.getByText("Nobody would own traffic group blue")).toBeVisible();
  await expectAccessible(page);
});

test("a node is taken out of service: first what would happen, then it does", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "Maintenance node-2" }).click();
  const asked = page.getByRole("dialog", { name: "Maintenance: node-2" });
  await expect(asked.getByText("node-2 → node-1")).toHaveCount(2);
  await expectAccessible(page);
  await page.keyboard.press("Escape");
  await expect(asked).toBeHidden();
  expect(await owners("blue"), "nothing was done").toEqual(["node-2"]);
  await expect(page.getByRole("button", { name: "Maintenance node-2" })).toBeFocused();

  await page.keyboard.press("Enter");
  await asked.getByRole("button", { name: "Maintenance" }).click();
  await expect(page.getByText("node-2: maintenance")).toBeVisible();
  await expect(nodeCard(page, "node-2")).toContainText("Maintenance");
  await expect(cell(page, "green", "node-1")).toContainText("Active");
  await expect(cell(page, "blue", "node-1")).toContainText("Active", { timeout: 40_000 });
  await shot(page, "ha-maintenance");
  await page.getByRole("button", { name: "Move blue" }).click();
  const target = page.getByRole("dialog").getByRole("radio", { name: /node-2.*Maintenance/ });
  await expect(target, "nobody is sent to a node in maintenance").toBeDisabled();
  await page.keyboard.press("Escape");
  await nodeCard(page, "node-2").getByRole("button", { name: "Back in service" }).click();
  const back = page.getByRole("dialog", { name: "Back in service: node-2" });
  await back.getByRole("button", { name: "Back in service" }).click();
  await expect(nodeCard(page, "node-2")).toContainText("In service");
});

test("a node is emptied once, and says what became of each group", async ({ page }) => {
  await signIn(page, "/ha");
  await expect(cell(page, "blue", "node-2")).toContainText("Backup");
  await page.getByRole("button", { name: "Force standby node-1" }).click();
  const dialog = page.getByRole("dialog", { name: "Force standby: node-1" });
  await expect(dialog.getByText("node-1 → node-2")).toHaveCount(2);
  await dialog.getByRole("button", { name: "Force standby" }).click();
  await expect(dialog.getByText(/blue: node-1 → node-2 in/)).toBeVisible();
  await expect(dialog.getByText(/green: node-1 → node-2 in/)).toBeVisible();
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await expect(nodeCard(page, "node-1")).toContainText("none");
  expect(await owners("green")).toEqual(["node-2"]);
});

test("a move that can't be is refused with the reason, in place", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "Move blue" }).click();
  const dialog = page.getByRole("dialog", { name: "Move traffic group blue" });
  await expect(dialog.getByRole("radio", { name: /node-1/ })).toBeChecked();
  // Somebody else is faster.
  await api.post("nodes/node-1/availability/offline?wait=applied");
  await dialog.getByRole("button", { name: "Move", exact: true }).click();
  await expect(dialog.getByRole("alert")).toContainText("It was not moved");
  await expect(dialog.getByRole("alert")).toContainText(/node-1 .*offline/);
  await expectAccessible(page);
  await page.keyboard.press("Escape");

  await expect(page.getByText("blue has no standby: if node-2 fails, nobody owns its addresses")).toBeVisible();
  await expect(cell(page, "blue", "node-1")).toContainText("Takes no part");
  await page.getByRole("button", { name: "Move blue" }).click();
  await expect(dialog.getByRole("radio", { name: /node-1/ })).toBeDisabled();
  await expect(dialog.getByRole("button", { name: "Move", exact: true })).toBeDisabled();
  await page.keyboard.press("Escape");
  await api.post("nodes/node-1/availability/available?wait=applied");
  await expect(cell(page, "blue", "node-1")).toContainText("Backup");
});

test("a viewer sees who owns what and can move nothing", async ({ page }) => {
  await api.put(`users/${VIEWER}`, { name: VIEWER, spec: { role: "viewer", password: VIEWER_PASSWORD } });
  await signIn(page, "/ha", VIEWER, VIEWER_PASSWORD);
  await expect(cell(page, "blue", "node-2")).toContainText("Active");
  const buttons = ["New traffic group", "Move blue", "Edit blue", "Delete blue", "Maintenance node-1"];
  for (const name of buttons) {
    await expect(page.getByRole("button", { name })).toHaveCount(0);
  }
});

test("the page fits a phone, and is accessible there", async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await signIn(page, "/ha");
  await expect(cell(page, "blue", "node-2")).toContainText("Active");
  await expect(cell(page, "blue", "node-2"), "its column's head is not shown").toContainText("node-2");
  const overhang = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overhang).toBeLessThanOrEqual(0);
  // As tall as the page, or what the bar at the bottom happens to cover is taken for too small.
  await page.setViewportSize({ width: 360, height: 4_000 });
  await expectAccessible(page);
  await page.setViewportSize({ width: 360, height: 740 });
  await shot(page, "ha-phone");
  await page.getByRole("button", { name: "Edit blue" }).click();
  await expect(page.getByRole("dialog", { name: "Edit traffic group blue" })).toBeVisible();
  await expectAccessible(page);
});

test("the page speaks Chinese", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "简体中文" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("高可用");
  await expect(cell(page, "blue", "node-2")).toContainText("主用");
  await expect(page.getByText("每个流量组都有唯一持有者，并有节点可随时接管")).toBeVisible();
  await expectAccessible(page);
  await shot(page, "ha-zh");
  await page.getByRole("button", { name: "迁移 blue" }).click();
  await expect(page.getByRole("dialog", { name: "迁移流量组 blue" })).toBeVisible();
  await expectAccessible(page);
});

test("the death of an owner is seen as it happens, with the gap and why", async ({ page }) => {
  await signIn(page, "/");
  const groups = page.getByRole("region", { name: "High availability" });
  await expect(groups.getByRole("listitem").filter({ hasText: "blue" })).toContainText("node-2");
  await page.getByRole("link", { name: "High availability" }).click();
  await expect(page.getByText("Live", { exact: true })).toBeVisible();
  await expect(cell(page, "blue", "node-2")).toContainText("Active");

  lab.kill("node-2");
  await expect(cell(page, "blue", "node-1")).toContainText("Active");
  await expect(newest(page, "blue")).toContainText(/The owner fell silent|The owner's process is gone/);
  await expect(newest(page, "blue")).toContainText(/silence \d+ ms/);
  await expect(cell(page, "blue", "node-2")).toContainText("Not answering");
  await expect(nodeCard(page, "node-2")).toContainText("Not answering");
  await expect(page.getByText("Not complete: node-2 does not answer")).toBeVisible();
  await expectAccessible(page);
  await shot(page, "ha-death");
});

test("addresses that nobody owns are cried out on both pages", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "Take offline node-1" }).click();
  const dialog = page.getByRole("dialog", { name: "Take offline: node-1" });
  await expect(dialog.getByText("node-1 → nobody")).toHaveCount(2);
  await expectAccessible(page);
  await dialog.getByRole("button", { name: "Take offline" }).click();
  await expect(page.getByText("Nobody owns blue")).toBeVisible();
  await expect(page.getByRole("rowheader", { name: /blue/ })).toContainText("No owner");
  await expectAccessible(page);

  await page.getByRole("link", { name: "Overview" }).click();
  await expect(page.getByLabel("Health of the cluster")).toHaveClass(/bad/);
  const groups = page.getByRole("region", { name: "High availability" });
  await expect(groups.getByRole("listitem").filter({ hasText: "blue" })).toContainText("No owner");
  await expectAccessible(page);
  await shot(page, "ha-overview");
});

test("a group is deleted after it was asked for", async ({ page }) => {
  await signIn(page, "/ha");
  await page.getByRole("button", { name: "Delete green" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete traffic group green?" });
  await dialog.getByRole("button", { name: "Delete" }).click();
  await expect(page.getByText("Traffic group green is deleted")).toBeVisible();
  await expect(page.getByRole("rowheader", { name: /green/ })).toHaveCount(0);
  await expect(page.getByRole("rowheader", { name: /blue/ })).toBeVisible();
});

async function signIn(page: Page, path: string, user = USER, password = lab.password): Promise<void> {
  await page.goto(lab.url("node-1") + path);
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("link", { name: "Overview" })).toBeVisible();
}

/** What a node is in a group. */
function cell(page: Page, group: string, node: "node-1" | "node-2"): Locator {
  const row = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: group }) });
  return row.getByRole("cell").nth(node === "node-1" ? 0 : 1);
}

function nodeCard(page: Page, node: string): Locator {
  const card = page.getByRole("region", { name: /Traffic nodes/ }).locator(".node-card");
  return card.filter({ has: page.locator("strong", { hasText: node }) });
}

/** The last transition of a group. */
function newest(page: Page, group: string): Locator {
  const items = page.locator(".timeline > li");
  return items.filter({ has: page.locator("strong", { hasText: group }) }).first();
}

/** Who owns a group, as the API says. */
async function owners(group: string): Promise<string[]> {
  const overview = await api.get("ha");
  return overview.groups.find((found: { group: string }) => found.group === group)?.owners;
}

/** Has a new group on `node`: where both are able, the one that hears of it first takes it. */
async function settle(group: string, node: string): Promise<void> {
  await expect.poll(() => owners(group)).toHaveLength(1);
  await api.post(`traffic-groups/${group}/failover`, { to: node });
  await expect.poll(() => owners(group)).toEqual([node]);
}

async function shot(page: Page, name: string): Promise<void> {
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: `${__dirname}/screenshots/${name}.png`, fullPage: true, animations: "disabled" });
}

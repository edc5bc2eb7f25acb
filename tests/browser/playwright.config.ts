// The console, driven in a real browser against a real ballastd.
//
// One worker: the tests tell one story, of one appliance, from its first start on.

import fs from "node:fs";

import { defineConfig } from "@playwright/test";

const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const chromium = candidates.find((path) => path && fs.existsSync(path));
if (!chromium) {
  throw new Error("no Chromium was found: apt-get install chromium, or set CHROMIUM to its path");
}

export default defineConfig({
  testDir: ".",
  outputDir: "test-results",
  workers: 1,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  timeout: 90_000,
  expect: { timeout: 20_000 },
  reporter: [["list"]],
  use: {
    ignoreHTTPSErrors: true,
    locale: "en-US",
    viewport: { width: 1360, height: 900 },
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: chromium,
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});

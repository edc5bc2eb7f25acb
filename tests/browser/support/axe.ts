// Accessibility: axe-core finds nothing, in light and in dark.

import fs from "node:fs";

import { expect, type Page } from "@playwright/test";

const axeSource = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Checks the page as it is now in both themes. */
export async function expectAccessible(page: Page): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    // Without transitions, or a colour between two themes is judged.
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(axeSource);
    const faults = await page.evaluate(async (rules) => {
      const { violations } = await (window as any).axe.run(document, { runOnly: rules });
      return violations.flatMap((rule: any) =>
        rule.nodes.map((node: any) => `${rule.id} at ${node.target}: ${node.failureSummary}`),
      );
    }, RULES);
    expect(faults, `${page.url()} in ${colorScheme}`).toEqual([]);
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: null });
}

// Two traffic nodes and a witness in network namespaces: `ballast-lab hold`, which owns them.

import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { type Api, program, signIn } from "./appliance";

/** Longest wait for the lab to be up, in ms. */
const START_TIMEOUT_MS = 120_000;
/** Longest wait for it to be removed before it is killed, in ms. */
const STOP_TIMEOUT_MS = 30_000;
/** How often its note is looked for, in ms. */
const LOOK_MS = 200;

export class Lab {
  private constructor(
    private readonly owner: ChildProcess,
    private readonly home: string,
    private readonly lines: string[],
  ) {}

  /** Starts one and waits until its nodes are a cluster. */
  static async start(): Promise<Lab> {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), "ballast-browser-"));
    const log = fs.openSync(path.join(home, "lab.log"), "w");
    // Its note of what is up lies below HOME: it must not be taken for a lab that a person made.
    const env = { ...process.env, HOME: home };
    const owner = spawn(program("ballast-lab"), ["hold"], { env, stdio: ["ignore", log, log] });
    fs.closeSync(log);
    const note = path.join(home, ".cache/ballast/lab.json");
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!fs.existsSync(note)) {
      const ended = owner.exitCode !== null || owner.signalCode !== null;
      if (ended || Date.now() > deadline) {
        owner.kill("SIGKILL");
        const said = fs.readFileSync(path.join(home, "lab.log"), "utf8");
        fs.rmSync(home, { recursive: true, force: true });
        throw new Error(`the lab did not start:\n${said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return new Lab(owner, home, JSON.parse(fs.readFileSync(note, "utf8")).lines);
  }

  /** Where the console of a node is. */
  url(node: string): string {
    const line = this.lines.find((line) => line.startsWith(`${node} `));
    const url = line?.match(/console (https:\/\/[^\s/]+)/)?.[1];
    if (!url) {
      throw new Error(`the lab has no ${node}: ${this.lines.join("\n")}`);
    }
    return url;
  }

  /** The administrator's password. */
  get password(): string {
    const line = this.lines.find((line) => line.startsWith("sign in as admin"));
    return line?.split(" ").at(-1) ?? "";
  }

  /** Signs in to the API of a node. */
  signIn(node: string): Promise<Api> {
    return signIn(this.url(node), this.password);
  }

  /** Kills a node's process, as a crash would. */
  kill(node: string): void {
    const config = new RegExp(`/blst-${this.owner.pid}-\\d+/${node}/node\\.toml$`);
    const found = fs.readdirSync("/proc").filter((pid) => {
      if (!/^\d+$/.test(pid)) {
        return false;
      }
      try {
        const words = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return words[0].endsWith("ballastd") && words.some((word) => config.test(word));
      } catch {
        // It ended meanwhile.
        return false;
      }
    });
    if (found.length !== 1) {
      throw new Error(`${node} has ${found.length} processes`);
    }
    process.kill(Number(found[0]), "SIGKILL");
  }

  /** Removes it. */
  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.owner.once("exit", () => resolve()));
    if (this.owner.exitCode === null && this.owner.signalCode === null) {
      this.owner.kill("SIGTERM");
      const deadline = setTimeout(() => this.owner.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(deadline);
    }
    fs.rmSync(this.home, { recursive: true, force: true });
  }
}

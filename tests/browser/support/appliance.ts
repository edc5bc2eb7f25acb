// A real `ballastd dev` on ports of its own, with its state in a folder of its own.

import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

import { type APIRequestContext, request } from "@playwright/test";

/** Longest wait for the appliance to print that it is ready, in ms. */
const START_TIMEOUT_MS = 30_000;
/** Longest wait for it to stop before it is killed, in ms. */
const STOP_TIMEOUT_MS = 15_000;
/** How much of its output is kept to explain a failure, in characters. */
const OUTPUT_MAX_CHARS = 20_000;

export const USER = "admin";
export const PASSWORD = "correct horse battery";

/** The administrator's way to the API, beside the browser. */
export interface Api {
  get(path: string): Promise<any>;
  put(path: string, body: unknown): Promise<any>;
  post(path: string, body?: unknown): Promise<any>;
}

/** Signs the administrator in to the API of a node. */
export async function signIn(url: string, password: string): Promise<Api> {
  const context = await request.newContext({ baseURL: url, ignoreHTTPSErrors: true });
  const session = await context.post("/api/v1/sessions", { data: { username: USER, password } });
  if (!session.ok()) {
    throw new Error(`signing in: ${session.status()} ${await session.text()}`);
  }
  return api(context, (await session.json()).csrf_token);
}

export class Appliance {
  private output = "";

  private constructor(
    private readonly process: ChildProcess,
    private readonly state: string,
  ) {}

  /** Starts one and waits until it says where its console is. */
  static async start(): Promise<Appliance> {
    const state = fs.mkdtempSync(path.join(os.tmpdir(), "ballast-browser-"));
    const child = spawn(program("ballastd"), ["dev", "--state", state, "--api", "127.0.0.1:0"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const appliance = new Appliance(child, state);
    await appliance.printed(/console: https:\/\/\S+/);
    return appliance;
  }

  /** Where the console is. */
  get url(): string {
    return this.found(/console: (https:\/\/[^\s/]+)/);
  }

  /** The one-time code that makes the first administrator. */
  get setupCode(): string {
    return this.found(/setup code: (\S+)/);
  }

  /** Signs in to the API. */
  signIn(): Promise<Api> {
    return signIn(this.url, PASSWORD);
  }

  /** Stops it and removes its state. */
  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.process.once("exit", () => resolve()));
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill("SIGTERM");
      const deadline = setTimeout(() => this.process.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(deadline);
    }
    fs.rmSync(this.state, { recursive: true, force: true });
  }

  private found(pattern: RegExp): string {
    const match = this.output.match(pattern);
    if (!match) {
      throw new Error(`ballastd did not print ${pattern}:\n${this.output}`);
    }
    return match[1];
  }

  /** Waits until the output holds `pattern`. */
  private printed(pattern: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        this.process.kill("SIGKILL");
        fs.rmSync(this.state, { recursive: true, force: true });
        reject(new Error(`ballastd ${why}:\n${this.output}`));
      };
      const deadline = setTimeout(() => fail(`did not print ${pattern} in time`), START_TIMEOUT_MS);
      const take = (chunk: Buffer) => {
        this.output = (this.output + chunk).slice(-OUTPUT_MAX_CHARS);
        if (pattern.test(this.output)) {
          clearTimeout(deadline);
          resolve();
        }
      };
      this.process.stdout?.on("data", take);
      this.process.stderr?.on("data", take);
      this.process.once("error", (error) => fail(`could not be started (${error.message})`));
      this.process.once("exit", (code) => {
        clearTimeout(deadline);
        fail(`ended with ${code}`);
      });
    });
  }
}

/** A loopback port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Where a program of this workspace was built to. */
export function program(name: string): string {
  const folder = process.env.BALLAST_BIN_DIR ?? path.resolve(__dirname, "../../../target/debug");
  const named = name === "ballastd" ? process.env.BALLASTD : undefined;
  const found = named ?? path.join(folder, name);
  if (!fs.existsSync(found)) {
    throw new Error(`there is no ${found}: build it with cargo build --bin ${name}, or set BALLAST_BIN_DIR`);
  }
  return found;
}

function api(context: APIRequestContext, csrfToken: string): Api {
  const answer = async (what: string, response: Awaited<ReturnType<APIRequestContext["get"]>>) => {
    if (!response.ok()) {
      throw new Error(`${what}: ${response.status()} ${await response.text()}`);
    }
    return response.json();
  };
  const headers = { "x-csrf-token": csrfToken };
  return {
    get: async (path) => answer(`GET ${path}`, await context.get(`/api/v1/${path}`)),
    put: async (path, data) =>
      answer(`PUT ${path}`, await context.put(`/api/v1/${path}?wait=applied`, { data, headers })),
    post: async (path, data) =>
      answer(`POST ${path}`, await context.post(`/api/v1/${path}`, { data, headers })),
  };
}

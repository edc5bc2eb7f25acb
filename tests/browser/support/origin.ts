// An HTTP server behind the appliance, which says its name in every answer.

import http from "node:http";
import type { AddressInfo } from "node:net";

export class Origin {
  private server?: http.Server;
  port = 0;

  constructor(readonly name: string) {}

  /** Starts to listen; after a stop, on the same port as before. */
  async start(): Promise<this> {
    const server = http.createServer((request, response) => {
      response.setHeader("content-type", "text/plain");
      response.end(request.url === "/health" ? "well" : this.name);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", resolve);
    });
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
    return this;
  }

  /** Stops at once, as a killed process does. */
  async stop(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    if (server) {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    }
  }
}

/** Sends requests one after another, each on a connection of its own, and counts who answered. */
export async function spread(port: number, count: number): Promise<Record<string, number>> {
  const answers: Record<string, number> = {};
  for (let i = 0; i < count; i += 1) {
    const name = await ask(port);
    answers[name] = (answers[name] ?? 0) + 1;
  }
  return answers;
}

function ask(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: "127.0.0.1", port, path: "/", agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (body += chunk));
      response.on("end", () => resolve(response.statusCode === 200 ? body : `status ${response.statusCode}`));
    });
    request.once("error", reject);
  });
}

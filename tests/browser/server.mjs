/** A `screenerd up --demo` of its own, on a free port, that can be killed and started again. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

import { until } from "./until.mjs";

const COMMAND = process.env.SCREENERD ?? "screenerd";
const READY_SECONDS = 90;

/** A port that nobody listens on. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class Server {
  /** @param {{speed: number, symbols?: number, rules?: string}} market what is built in, a file */
  constructor({ speed, symbols = 40, rules = null }) {
    Object.assign(this, { speed, symbols, rules, port: null, log: "" });
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Starts it, on the same port each time. */
  async start() {
    this.port ??= await freePort();
    const [command, ...rest] = COMMAND.split(" ");
    const market = ["--speed", String(this.speed), "--symbols", String(this.symbols)];
    if (this.rules) market.push("--rules-file", this.rules);
    this.process = spawn(command, [...rest, "up", "--demo", ...market], {
      env: {
        ...process.env,
        SCREENER_SERVE__PORT: String(this.port),
        // The tests open more pages a minute than a person does.
        SCREENER_SERVE__REQUESTS_A_MINUTE: "1000",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.ended = once(this.process, "exit");
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on("data", (data) => (this.log = (this.log + data).slice(-20_000)));
    }
    await until(() => this.ready(), {
      seconds: READY_SECONDS,
      what: () => `the server is ready:\n${this.log}`,
    });
  }

  async ready() {
    if (this.process.exitCode !== null)
      throw new Error(`\`${COMMAND}\` ended by itself:\n${this.log}`);
    const answer = await fetch(new URL("health/ready", this.url)).catch(() => null);
    return answer?.ok ?? false;
  }

  async get(path) {
    return (await fetch(new URL(path, this.url))).json();
  }

  /** Ends it without a word to anybody. */
  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
  }

  async stop() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill("SIGTERM");
    await this.ended;
  }
}

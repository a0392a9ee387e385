/** The WebSocket: subscribes, resumes where it was, comes back by itself. */

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const SILENCE = 75_000;
const CHANNELS = ["alerts", "metrics", "prices", "rules"];
/** As `WebSocket.CONNECTING`. */
const CONNECTING = 0;
/** No token, a bad one, or one that may not read. */
const REFUSED = [4401, 4403];

/** How long to wait before a try, ms: doubled each time, and up to half as long again. */
export function backoff(failures, random = Math.random) {
  const least = FIRST_WAIT * 2 ** Math.max(failures - 1, 0);
  return Math.min(least * (1 + random() / 2), LONGEST_WAIT * (1 - random() / 4));
}

/**
 * States: `connecting` (never was live), `replaying` (what was missed arrives), `live`,
 * `reconnecting`, `refused` (waits for a token).
 */
export class Live {
  /**
   * @param {object} options
   * @param {string} options.url
   * @param {() => string|null} options.token
   * @param {(state: {name: string, retryAt: number|null, reason: string}) => void} options.onState
   * @param {(subscribed: {first: boolean, recovered: boolean}) => void} options.onSubscribed
   * @param {(data: object, missed: boolean) => void} options.onAlert
   * @param {(data: object) => void} options.onMetrics
   * @param {(prices: object, time: number) => void} options.onPrices of the running minutes
   * @param {() => void} options.onRules the rules are others now
   * @param {() => void} options.onRefused
   */
  constructor(options) {
    Object.assign(this, options);
    this.socket = null;
    this.offset = null;
    this.epoch = null;
    this.replayUntil = null;
    this.failures = 0;
    this.timer = null;
    this.watch = null;
    this.state = { name: "connecting", retryAt: null, reason: "" };
  }

  /** Connects now, whatever it waits for. */
  connect() {
    clearTimeout(this.timer);
    this.drop();
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) => this.received(JSON.parse(data));
    socket.onclose = (event) => this.closed(event);
    this.listen();
  }

  /** Connects now if it waits for its next try. */
  hurry() {
    if (!this.socket && this.state.name !== "refused") this.connect();
  }

  /** Leaves the socket it has, if any, without a word from it. */
  drop() {
    clearTimeout(this.watch);
    if (!this.socket) return;
    const { socket } = this;
    this.socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // A browser complains of one that is closed before it is open.
    if (socket.readyState === CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  opened() {
    const token = this.token();
    if (token) this.say({ type: "auth", token });
    else this.subscribe();
  }

  subscribe() {
    const resume = this.epoch === null ? {} : { since: this.offset, epoch: this.epoch };
    this.say({ type: "subscribe", channels: CHANNELS, ...resume });
  }

  received(message) {
    this.listen();
    this[`on_${message.type}`]?.(message);
  }

  on_authenticated() {
    this.subscribe();
  }

  on_subscribed({ offset, epoch, recovered }) {
    const first = this.epoch === null;
    const resumed = !first && recovered === true;
    this.replayUntil = resumed && this.offset < offset ? offset : null;
    if (!resumed) this.offset = offset;
    this.epoch = epoch;
    this.failures = 0;
    this.become(this.replayUntil === null ? "live" : "replaying");
    this.onSubscribed({ first, recovered: resumed });
  }

  on_alert({ offset, data }) {
    const missed = this.replayUntil !== null;
    this.offset = offset;
    this.onAlert(data, missed);
    if (missed && offset >= this.replayUntil) this.replayed();
  }

  on_metrics({ data }) {
    // What was missed comes before anything else; some of it may not have been for us.
    this.replayed();
    this.onMetrics(data);
  }

  on_prices({ timestamp, data }) {
    this.onPrices(data, Date.parse(timestamp));
  }

  on_rules() {
    this.onRules();
  }

  replayed() {
    if (this.replayUntil === null) return;
    this.replayUntil = null;
    this.become("live");
  }

  on_ping() {
    this.say({ type: "pong" });
  }

  on_error({ message }) {
    this.problem = message ?? "";
  }

  /** A server that says nothing for so long has gone without a word: it pings every 30 s. */
  listen() {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => {
      this.drop();
      this.closed({ code: 0, reason: "the server fell silent" });
    }, SILENCE);
  }

  closed({ code, reason }) {
    clearTimeout(this.watch);
    this.socket = null;
    if (REFUSED.includes(code)) {
      this.become("refused");
      this.onRefused();
      return;
    }
    this.failures += 1;
    const wait = backoff(this.failures);
    this.timer = setTimeout(() => this.connect(), wait);
    const name = this.epoch === null ? "connecting" : "reconnecting";
    this.become(name, Date.now() + wait, this.problem || reason);
    this.problem = "";
  }

  become(name, retryAt = null, reason = "") {
    this.state = { name, retryAt, reason };
    this.onState(this.state);
  }
}

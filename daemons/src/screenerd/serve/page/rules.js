/** The rules: their text, and a switch and a cooldown for each. */

import { byId, el, write } from "./dom.js";
import { duration, formula } from "./format.js";
import { scoreTable } from "./scores.js";
import { showValue } from "./values.js";

const SHADOW = "Judged and scored; nobody is told of its alerts";

export class Rules {
  /**
   * @param {object} options
   * @param {import("./api.js").Api} options.api
   * @param {(rules: object[]) => void} options.onChange
   */
  constructor({ api, onChange }) {
    Object.assign(this, { api, onChange });
    this.list = byId("rules");
    this.fault = byId("rules-fault");
    this.rules = [];
    this.scores = { horizons: [], rules: [] };
  }

  /** What the server has: the rules, and what keeps a file of rules from being in force. */
  set({ rules, fault }) {
    write(this.fault, fault ? faultText(fault) : "");
    this.fault.hidden = !fault;
    // Who is about to change a cooldown must not lose it to an answer that says the same.
    if (JSON.stringify(rules) === JSON.stringify(this.rules)) return;
    this.rules = rules;
    this.list.replaceChildren(...rules.map((rule) => this.item(rule)));
    this.count();
    this.onChange(rules);
  }

  /** Whether anybody can see them. */
  get visible() {
    return this.list.offsetParent !== null;
  }

  /** What came after the alerts of each rule. */
  setScores(scores) {
    this.scores = scores;
    for (const place of this.list.querySelectorAll(".score")) this.score(place);
  }

  score(place) {
    const found = this.scores.rules.find(({ rule }) => rule === place.dataset.rule);
    place.replaceChildren(scoreTable(found, this.scores.horizons));
  }

  count() {
    const on = this.rules.filter(({ enabled }) => enabled).length;
    showValue("rules-on", `${on}/${this.rules.length} on`);
  }

  item(rule) {
    const id = `rule-${rule.name}`;
    const title = el(
      "span.rule-title",
      { id },
      el("i.arrow", { "aria-hidden": "true" }),
      rule.title,
    );
    const error = el("p.error", { role: "alert" });
    error.hidden = true;
    const parts = { rule, error };
    parts.toggle = el("button.switch", { type: "button", role: "switch", "aria-labelledby": id });
    parts.toggle.addEventListener("click", () =>
      this.change(parts, { enabled: !parts.rule.enabled }),
    );
    parts.cooldown = el("input", { type: "number", min: "1", step: "1", inputmode: "numeric" });
    parts.cooldown.addEventListener("change", () => {
      this.change(parts, { cooldown_seconds: Number(parts.cooldown.value) });
    });
    parts.spelled = el("span.muted");
    const score = el("div.score", { "data-rule": rule.name });
    this.score(score);
    const tag = rule.shadow ? [el("span.shadow", { title: SHADOW }, "shadow")] : [];
    parts.element = el(
      "li",
      { "data-rule": rule.name, class: rule.direction },
      el("div.rule-head", {}, title, el("span.muted", {}, rule.timeframe), ...tag, parts.toggle),
      expression(rule),
      el("label.cooldown", {}, "Cooldown", parts.cooldown, "s", parts.spelled),
      error,
      score,
    );
    this.write(parts);
    return parts.element;
  }

  write({ rule, toggle, cooldown, spelled, element }) {
    toggle.setAttribute("aria-checked", String(rule.enabled));
    element.classList.toggle("off", !rule.enabled);
    cooldown.value = String(rule.cooldown_seconds);
    write(spelled, rule.cooldown_seconds % 60 ? "" : duration(rule.cooldown_seconds));
  }

  /** Asks the server for a change; what it refuses is told beside the rule and taken back. */
  async change(parts, wanted) {
    const { error, toggle } = parts;
    toggle.setAttribute("aria-busy", "true");
    try {
      const changed = await this.api.put(
        `api/rules/${encodeURIComponent(parts.rule.name)}`,
        wanted,
      );
      this.rules = this.rules.map((rule) => (rule === parts.rule ? changed : rule));
      parts.rule = changed;
      error.hidden = true;
      this.onChange(this.rules);
    } catch (problem) {
      write(error, `Not changed: ${problem.message}`);
      error.hidden = false;
    }
    toggle.removeAttribute("aria-busy");
    this.write(parts);
    this.count();
  }
}

function faultText({ file, line, column, message }) {
  const place = [file, line && `line ${line}`, column && `column ${column}`];
  return `${place.filter(Boolean).join(", ")}: ${message}. The rules before it stay.`;
}

function expression({ when, floor }) {
  const clauses = (text) =>
    formula(text)
      .split(/ (?=and )/)
      .map((clause) => el("span", {}, clause));
  const lines = el("code.when", {}, ...clauses(when));
  if (floor) lines.append(el("span.floor", {}, "floor"), ...clauses(floor));
  return lines;
}

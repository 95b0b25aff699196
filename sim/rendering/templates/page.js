"use strict";
// What pages share: elements made of text, never of markup; values as text; a tooltip; tables that sort.
const kit = (() => {
  const fill = (made, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const node = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const shape = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // Values as text, as flowsim prints them.
  const formats = {}; // making one takes longer than using it
  const digits = (value, number) =>
    (formats[number] ??= new Intl.NumberFormat("en", { maximumSignificantDigits: number })).format(value);
  const seconds = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 0.9995e-3) return `${digits(value * 1e6, 3)} us`;
    if (size < 0.9995) return `${digits(value * 1e3, 3)} ms`;
    return size < 1000 ? `${digits(value, 4)} s` : `${digits(Math.round(value), 15)} s`;
  };
  // A half goes to the even digit, as in Python: 96.25 is 96.2; of exact halves only .25 is not so by itself.
  const tenths = (value) => (Math.abs(value % 1) === 0.25 ? value - 0.05 * Math.sign(value) : value).toFixed(1);
  const forms = {
    text: String,
    count: (value) => digits(value, 15),
    number: (value) => digits(value, 4),
    percent: (value) => `${tenths(100 * value)} %`,
    seconds,
  };
  const told = (value, form = "number") => (value === null || value === undefined ? "-" : forms[form](value));

  const compare = (a, b) => {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1; // what is unknown comes last
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  };

  // A tooltip at the pointer; lines are separated by \n.
  const tip = node("div", { class: "tip", role: "status", hidden: true });
  const hint = (event, text) => {
    if (!tip.isConnected) document.body.append(tip);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - width - 4);
    const above = event.clientY + 18 + height > innerHeight;
    tip.style.left = `${Math.max(left, 4)}px`;
    tip.style.top = `${above ? Math.max(event.clientY - height - 10, 4) : event.clientY + 18}px`;
  };

  // A heading that sorts by click or key: `sort` is told whether the order ascends.
  const sorts = (heading, sort) => {
    heading.classList.add("sorts");
    heading.tabIndex = 0;
    const click = () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(ascending);
    };
    heading.addEventListener("click", click);
    heading.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); click(); }
    });
  };

  // What a cell holds: a duration in seconds, another number, or text.
  const held = (text) => {
    const found = /^[><+]?\s*([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)\s*(us|ms|s|%|req\/s)?(?:\s|$|\*|\[)/.exec(text);
    if (!found) return text === "-" ? null : text;
    return Number(found[1].replaceAll(",", "")) * ({ us: 1e-6, ms: 1e-3 }[found[2]] ?? 1);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((heading, place) => sorts(heading, (ascending) => {
      const value = (row) => held(row.cells[place].textContent.trim());
      const order = [...body.rows].sort((a, b) => (ascending ? 1 : -1) * compare(value(a), value(b)));
      body.append(...order);
    }));
  }

  const choice = (name, values, chosen, change) => {
    const select = node("select", { name, change: () => change(select.value) },
      ...values.map(([value, text]) => node("option", { value, selected: value === chosen }, text)));
    return node("label", {}, name, select);
  };

  // Each kind of drawn part has a drawer: drawers.chart(place, part).
  const drawers = {};
  const draw = () => {
    const parts = JSON.parse(document.getElementById("data").textContent);
    for (const place of document.querySelectorAll("[data-part]")) {
      const part = parts[Number(place.dataset.part)];
      drawers[part.part](place, part);
    }
  };
  const redrawn = (place, draw) => {
    let width = 0;
    new ResizeObserver(() => {
      const now = place.clientWidth;
      if (now && now !== width) { width = now; draw(); }
    }).observe(place);
  };
  return { node, shape, told, digits, compare, hint, sorts, choice, drawers, draw, redrawn };
})();

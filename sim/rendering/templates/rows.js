"use strict";
// Large tables: all values in memory, of which only the rows that are visible are elements.
(() => {
  const { node, told, compare, sorts } = kit;
  const HEIGHT = 27, SPARE = 8, SMALL = 12, MEASURED = 500;

  kit.drawers.rows = (place, part) => {
    const columns = part.columns;
    const number = columns[0]?.values.length ?? 0;
    let order = [...Array(number).keys()];
    let shown = order;
    const text = (column, row) => told(column.values[row], column.form);
    const words = (column) => (column.form === "text" ? "words" : null);
    const step = Math.ceil(number / MEASURED) || 1;
    const width = (column) => {
      let longest = column.title.length + 2;
      for (let row = 0; row < number; row += step) longest = Math.max(longest, text(column, row).length);
      return `min-width:${Math.min(longest, 48)}ch`;
    };
    const headings = columns.map((column) => node("th", { class: words(column), style: width(column) }, column.title));
    const body = node("tbody");
    const table = node("table", {}, node("thead", {}, node("tr", {}, ...headings)), body);
    const view = node("div", { class: "rows", tabindex: 0, scroll: () => fill() }, table);
    const count = node("span", { class: "note" });

    const open = (row) => document.dispatchEvent(new CustomEvent(part.opens[0], { detail: part.opens[1][row] }));
    const line = (row) => {
      const cells = columns.map((column) => node("td", { class: words(column) }, text(column, row)));
      if (!part.opens) return node("tr", {}, ...cells);
      const keyed = (event) => event.key === "Enter" && open(row);
      return node("tr", { class: "opens", tabindex: 0, click: () => open(row), keydown: keyed }, ...cells);
    };
    const gap = (rows) => (rows > 0 ? node("tr", { "aria-hidden": "true" }, node("td", { colspan: columns.length, style: `height:${rows * HEIGHT}px;padding:0;border:0` })) : null);
    let drawn = "";
    const fill = (anew = false) => {
      const whole = shown.length <= 60;
      const first = whole ? 0 : Math.max(Math.floor(view.scrollTop / HEIGHT) - SPARE, 0);
      const last = whole ? shown.length : Math.min(first + Math.ceil((view.clientHeight || 480) / HEIGHT) + 2 * SPARE, shown.length);
      if (!anew && drawn === `${first} ${last}`) return;
      drawn = `${first} ${last}`;
      const visible = [gap(first), ...shown.slice(first, last).map(line), gap(shown.length - last)];
      body.replaceChildren(...visible.filter(Boolean));
    };
    headings.forEach((heading, at) => sorts(heading, (ascending) => {
      const values = columns[at].values, sign = ascending ? 1 : -1;
      const rank = (a, b) => (values[a] === null || values[b] === null ? 1 : sign) * compare(values[a], values[b]) || a - b;
      order = order.slice().sort(rank);
      select();
    }));

    const search = node("input", { type: "search", name: "filter", placeholder: "filter rows", "aria-label": "filter rows", input: () => select() });
    const lines = []; // each row as text, once it has been searched
    const select = () => {
      const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const matches = (row) => {
        const whole = (lines[row] ??= columns.map((column) => text(column, row)).join("\n").toLowerCase());
        return wanted.every((word) => whole.includes(word));
      };
      shown = wanted.length ? order.filter(matches) : order;
      count.textContent = `${told(shown.length, "count")} of ${told(number, "count")} rows`;
      fill(true);
    };
    if (number > SMALL) place.append(node("div", { class: "controls" }, search, count));
    place.append(view);
    select();
  };
})();

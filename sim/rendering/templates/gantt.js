"use strict";
// A stretch of a run: a row for each instance and each request, with what it did and when.
(() => {
  const { node, shape, hint, told, choice } = kit;
  const ROW = 18, BAR = 12;

  const tick = (from, to) => {
    const rough = (to - from) / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((lead) => lead * power >= rough);
    const found = [];
    for (let time = Math.ceil(from / step - 1e-9) * step; time <= to + step * 1e-6; time += step) found.push(time);
    return found;
  };
  // A name keeps its beginning, which tells requests apart.
  const fit = (name, room) => {
    const text = name.firstChild, wide = name.getComputedTextLength();
    if (wide > room) text.data = `${text.data.slice(0, Math.ceil((text.length * room) / wide))}…`;
    while (name.getComputedTextLength() > room && text.length > 2) text.data = `${text.data.slice(0, -2)}…`;
  };

  const hatching = () => shape("defs", {}, shape("pattern", { id: "paused", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    shape("line", { x1: 0, x2: 0, y1: 0, y2: 5, stroke: "var(--text)", "stroke-width": 1.5, opacity: 0.55 })));

  const bars = (row, x, y, from, to) => row.bars.filter(([began, ended]) => began <= to && ended >= from).flatMap(([began, ended, state, about, colour]) => {
    const left = x(Math.max(began, from)), right = x(Math.min(ended, to));
    const place = { x: left, y: y + (ROW - BAR) / 2, width: Math.max(right - left, 0.7), height: BAR };
    const text = `${about}\n${state} for ${told(ended - began, "seconds")} from ${kit.digits(began, 7)} s`;
    const more = { class: `bar ${state}`, pointermove: (event) => hint(event, text), pointerleave: () => hint(null, "") };
    if (state === "running") return [shape("rect", { ...place, fill: `var(--c${colour % 8})`, stroke: "var(--back)", "stroke-width": 0.4, ...more })];
    const pale = shape("rect", { ...place, fill: `var(--c${colour % 8})`, "fill-opacity": state === "paused" ? 0.12 : 0.22, ...more });
    return state === "paused" ? [pale, shape("rect", { ...place, fill: "url(#paused)", "pointer-events": "none" })] : [pale];
  });

  const draw = (place, part, view) => {
    const width = place.clientWidth, left = width < 560 ? 100 : 170, { from_s: from, to_s: to } = part;
    const rows = [...view.instances, ...view.requests];
    const top = 22, height = top + rows.length * ROW + 8;
    const x = (time) => left + ((time - from) / (to - from)) * (width - left - 8);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "who ran and who waited, by time" }, hatching());
    for (const time of tick(from, to))
      svg.append(shape("line", { class: "grid", x1: x(time), x2: x(time), y1: top - 4, y2: height }), shape("text", { class: "faint", x: x(time), y: 12, "text-anchor": "middle" }, `${kit.digits(time, 6)} s`));
    rows.forEach((row, number) => {
      const y = top + number * ROW;
      if (number === view.instances.length) svg.append(shape("line", { class: "axis", x1: 0, x2: width, y1: y, y2: y }));
      const open = () => row.story && document.dispatchEvent(new CustomEvent("story", { detail: row.story }));
      const keyed = (event) => event.key === "Enter" && open();
      const name = shape("text", { class: "name", x: left - 8, y: y + 13, "text-anchor": "end", fill: row.missed ? "var(--mark)" : null, style: row.missed ? "fill:var(--mark);font-weight:600" : null }, row.name, shape("title", {}, row.name));
      const group = shape("g", { class: row.missed ? "missed" : "row", "data-story": row.story, tabindex: row.story ? 0 : null, style: row.story ? "cursor:pointer" : null, click: open, keydown: keyed }, name, ...bars(row, x, y, from, to));
      if (row.due_s !== null && row.due_s >= from && row.due_s <= to) {
        const text = `deadline${row.missed ? `, missed: ${row.missed}` : ""}`;
        group.append(shape("line", { x1: x(row.due_s), x2: x(row.due_s), y1: y + 1, y2: y + ROW - 1, stroke: row.missed ? "var(--mark)" : "var(--faint)", "stroke-width": 2, pointermove: (event) => hint(event, text), pointerleave: () => hint(null, "") }));
      }
      svg.append(group);
    });
    place.replaceChildren(svg, node("p", { class: "note" }, view.note));
    for (const name of svg.querySelectorAll(".name")) fit(name, left - 8);
  };

  const key = (name, fill, opacity, hatched) => node("span", { class: "key" },
    shape("svg", { width: 22, height: BAR, style: "width:22px;display:inline-block" }, shape("rect", { width: 22, height: BAR, fill, "fill-opacity": opacity }), hatched ? shape("rect", { width: 22, height: BAR, fill: "url(#paused)" }) : ""), ` ${name}`);

  kit.drawers.gantt = (place, part) => {
    let view = part.views[0];
    const canvas = node("div");
    const controls = node("div", { class: "controls" });
    if (part.views.length > 1)
      controls.append(choice("policy", part.views.map(({ name }) => [name, name]), view.name, (name) => { view = part.views.find((one) => one.name === name); draw(canvas, part, view); }));
    const keys = part.classes.map((name, number) => key(name, `var(--c${number % 8})`, 1));
    place.append(controls, node("div", { class: "legend" }, ...keys, key("waiting", "var(--c0)", 0.22), key("paused", "var(--c0)", 0.12, true), node("span", { class: "key miss" }, "| missed deadline")), canvas);
    kit.redrawn(canvas, () => draw(canvas, part, view));
  };
})();

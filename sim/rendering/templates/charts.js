"use strict";
// Charts: series on two axes, with selects, a legend that hides series, and what is under the pointer.
const charts = (() => {
  const { node, shape, digits, hint, choice } = kit;
  const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
  const MARGIN = { left: 54, right: 14, top: 12, bottom: 42 };
  const MOST_DOTS = 80;
  const colour = (series) => `var(--c${series.colour % 8})`;
  const finite = (values) => values.filter((value) => value !== null);

  // Ticks of an axis from low to high: [value, text].
  const ticks = (axis, low, high, room) => {
    if (axis.words.length) return axis.words.map((word, place) => [place, word]);
    if (axis.log) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
        for (const lead of high / low > 300 * room ? [1] : high / low > 12 ? [1, 3] : [1, 2, 5]) {
          const value = lead * 10 ** power;
          if (value >= low * 0.999 && value <= high * 1.001) found.push([value, digits(value, 3)]);
        }
      return found;
    }
    const rough = (high - low) / Math.max(room, 1), power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 2.5, 5, 10].find((lead) => lead * power >= rough) ?? 10);
    const found = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step)
      found.push([value, digits(Math.abs(value) < step * 1e-6 ? 0 : value, 6)]);
    return found;
  };

  // From where to where an axis goes for these values.
  const span = (axis, values) => {
    if (axis.words.length) return [-0.4, axis.words.length - 0.6];
    const usable = axis.log ? values.filter((value) => value > 0) : values;
    let low = axis.low ?? usable.reduce((a, b) => Math.min(a, b), Infinity);
    let high = axis.high ?? usable.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!(low <= high)) return axis.log ? [0.1, 10] : [0, 1];
    if (low === high) return axis.log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const more = axis.log ? 0 : 0.04 * (high - low);
    if (axis.low === null) low -= more;
    if (axis.high === null) high += more;
    return [low, high];
  };

  const scale = (axis, [low, high], from, to) => {
    const at = axis.log ? Math.log : (value) => value;
    const first = at(low), size = at(high) - first;
    return (value) => from + ((at(axis.log ? Math.max(value, low / 2) : value) - first) / size) * (to - from);
  };

  const words = (axis, value) => (axis.words.length ? axis.words[Math.round(value)] : digits(value, 4));

  // The axes of a chart of this width: scales, and the element with grid, ticks and labels.
  const frame = (part, width, height, xs, ys) => {
    const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
    const [xSpan, ySpan] = [span(part.x, xs), span(part.y, ys)];
    const x = scale(part.x, xSpan, MARGIN.left, right), y = scale(part.y, ySpan, bottom, MARGIN.top);
    const group = shape("g");
    for (const [value, text] of ticks(part.y, ...ySpan, height / 60))
      group.append(shape("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) }),
        shape("text", { class: "faint", x: MARGIN.left - 7, y: y(value) + 4, "text-anchor": "end" }, text));
    const shown = ticks(part.x, ...xSpan, width / 110);
    const longest = Math.max(...shown.map(([, text]) => text.length), 1);
    const every = Math.ceil((shown.length * (longest * 7 + 12)) / (right - MARGIN.left));
    shown.forEach(([value, text], place) => {
      group.append(shape("line", { class: "grid", x1: x(value), x2: x(value), y1: MARGIN.top, y2: bottom }));
      if (place % every === 0) group.append(shape("text", { class: "faint", x: x(value), y: bottom + 16, "text-anchor": "middle" }, text));
    });
    group.append(shape("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }),
      shape("text", { x: (MARGIN.left + right) / 2, y: height - 6, "text-anchor": "middle" }, part.x.label),
      shape("text", { transform: `translate(13 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, part.y.label));
    return { x, y, group, right, bottom };
  };

  const path = (series, x, y, bottom) => {
    let d = "", pen = false, last = 0;
    series.x.forEach((at, place) => {
      const value = series.y[place];
      if (value === null) { pen = false; return; }
      const [px, py] = [x(at).toFixed(1), y(value).toFixed(1)];
      d += !pen ? `M${px} ${py}` : series.kind === "line" ? `L${px} ${py}` : `H${px}V${py}`;
      pen = true; last = px;
    });
    return series.kind === "area" && d ? `${d}V${bottom}H${x(series.x[0]).toFixed(1)}Z` : d;
  };

  const whiskers = (series, x, y) => series.x.flatMap((at, place) => {
    const [low, high] = [series.low[place], series.high[place]];
    if (low === null || high === null || low === undefined) return [];
    return [shape("line", { x1: x(at), x2: x(at), y1: y(low), y2: y(high), stroke: colour(series), "stroke-width": 1.2, opacity: 0.7 })];
  });

  const drawn = (series, x, y, bottom) => {
    const group = shape("g", { class: "series", "data-name": series.name });
    const area = series.kind === "area";
    const stroke = { stroke: colour(series), "stroke-width": area ? 1 : 1.8, "stroke-dasharray": DASHES[series.dashes % 4] || null };
    group.append(shape("path", { d: path(series, x, y, bottom), fill: area ? colour(series) : "none", "fill-opacity": 0.18, ...stroke }));
    group.append(...whiskers(series, x, y));
    if (series.kind === "line" && series.x.length <= MOST_DOTS)
      series.x.forEach((at, place) => series.y[place] !== null && group.append(shape("circle", { class: "point", cx: x(at), cy: y(series.y[place]), r: 3.2, fill: colour(series) })));
    return group;
  };

  // The place of the last of ascending values that `at` puts no further right than a pixel; -1 if there is none.
  const before = (values, at, pixel) => {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at(values[middle]) <= pixel) low = middle + 1; else high = middle;
    }
    return low - 1;
  };

  // What lies under the pointer: [text, x, y] of it.
  const under = (part, shown, { x, y }, px, py) => {
    if (shown.some((series) => series.kind === "line")) {
      let best = null, least = 40 ** 2;
      for (const series of shown)
        series.x.forEach((at, place) => {
          if (series.y[place] === null) return;
          const far = (x(at) - px) ** 2 + (y(series.y[place]) - py) ** 2;
          if (far < least) [least, best] = [far, [series, place]];
        });
      if (!best) return null;
      const [series, place] = best, at = series.x[place], value = series.y[place];
      const known = series.low[place] !== undefined && series.low[place] !== null;
      const interval = known ? ` [${digits(series.low[place], 4)}, ${digits(series.high[place], 4)}]` : "";
      return [`${series.name}\n${part.x.label}: ${words(part.x, at)}\n${part.y.label}: ${digits(value, 4)}${interval}`, x(at), y(value)];
    }
    const lines = [];
    let nearest = null;
    for (const series of shown) {
      const place = before(series.x, x, px);
      if (place < 0 || series.y[place] === null) continue;
      lines.push(`${series.name}: ${digits(series.y[place], 4)}`);
      nearest = Math.max(nearest ?? -Infinity, series.x[place]);
    }
    return lines.length ? [`${part.x.label}: ${words(part.x, nearest)}\n${lines.join("\n")}`, px, null] : null;
  };

  // Draw a chart into an element; `state` holds what is selected and hidden.
  const draw = (place, part, state) => {
    const chosen = ({ tags }) => Object.entries(state.chosen).every(([tag, value]) => value === "" || !(tag in tags) || tags[tag] === value);
    const shown = part.series.filter(chosen);
    const visible = shown.filter((series) => !state.hidden.has(series.name));
    const width = place.clientWidth, height = Math.round(Math.min(Math.max(width * 0.5, 230), 380));
    const ys = visible.flatMap((series) => [...finite(series.y), ...finite(series.low), ...finite(series.high)]);
    const made = frame(part, width, height, [...visible.flatMap((series) => series.x), ...part.marks.filter(chosen).map((mark) => mark.x)], ys);
    const cross = shape("line", { class: "axis", y1: MARGIN.top, y2: made.bottom, visibility: "hidden" });
    const ring = shape("circle", { r: 6, fill: "none", stroke: "var(--text)", "stroke-width": 1.5, visibility: "hidden" });
    const leave = () => { hint(null, ""); for (const mark of [cross, ring]) mark.setAttribute("visibility", "hidden"); };
    const move = (event) => {
      const box = svg.getBoundingClientRect();
      const found = under(part, visible, made, event.clientX - box.left, event.clientY - box.top);
      leave();
      if (!found) return;
      const [text, px, py] = found;
      const mark = py === null ? cross : ring;
      for (const [name, value] of Object.entries(py === null ? { x1: px, x2: px } : { cx: px, cy: py })) mark.setAttribute(name, value);
      mark.setAttribute("visibility", "visible");
      hint(event, text);
    };
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${part.y.label} against ${part.x.label}`, pointermove: move, pointerdown: move, pointerleave: leave }, made.group);
    for (const mark of part.marks.filter(chosen))
      svg.append(shape("line", { x1: made.x(mark.x), x2: made.x(mark.x), y1: MARGIN.top, y2: made.bottom, stroke: "var(--faint)", "stroke-width": 1.2, "stroke-dasharray": "5 4" }),
        shape("text", { class: "faint", transform: `translate(${made.x(mark.x) - 4} ${made.bottom - 8}) rotate(-90)` }, mark.label));
    svg.append(...visible.map((series) => drawn(series, made.x, made.y, made.bottom)), cross, ring);
    const legend = node("div", { class: "legend" });
    for (const series of new Map(shown.map((one) => [one.name, one])).values()) {
      const key = shape("svg", { width: 22, height: 10, style: "width:22px" }, shape("line", { x1: 0, x2: 22, y1: 5, y2: 5, stroke: colour(series), "stroke-width": 3, "stroke-dasharray": DASHES[series.dashes % 4] || null }));
      const press = () => { state.hidden.has(series.name) ? state.hidden.delete(series.name) : state.hidden.add(series.name); draw(place, part, state); };
      legend.append(node("button", { type: "button", "aria-pressed": String(!state.hidden.has(series.name)), click: press }, key, series.name));
    }
    place.replaceChildren(shown.length > 1 ? legend : "", visible.length ? svg : node("p", { class: "note" }, "nothing to draw"));
  };

  kit.drawers.chart = (place, part) => {
    const state = { chosen: { ...part.selects }, hidden: new Set() };
    const canvas = node("div");
    const controls = node("div", { class: "controls" });
    for (const tag of Object.keys(part.selects)) {
      const values = [...new Set(part.series.map((series) => series.tags[tag]).filter((value) => value !== undefined))];
      const options = [...values.map((value) => [value, value]), ["", "every"]];
      if (values.length > 1) controls.append(choice(tag, options, part.selects[tag], (value) => { state.chosen[tag] = value; draw(canvas, part, state); }));
    }
    place.append(part.title ? node("h3", {}, part.title) : "", controls, canvas);
    kit.redrawn(canvas, () => draw(canvas, part, state));
  };
  return { draw, colour, frame, MARGIN };
})();

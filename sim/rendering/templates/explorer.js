"use strict";
// Metrics of many settings: what is drawn against what, a line for each value of what, and for which values of the rest.
(() => {
  const { node, told, compare, choice } = kit;

  const values = (column) => {
    const found = [...new Set(column.values)];
    return column.form === "text" ? found : found.sort(compare);
  };
  const text = (column, value) => told(value, column.form);

  // The chart of what is chosen: { metric, x, lines, kept }, of which `kept` has a value for each further dimension.
  const chart = (part, { metric, x, lines, kept }) => {
    const of = part.metrics.find((one) => one.title === metric);
    const across = part.dimensions.find((one) => one.title === x);
    const by = part.dimensions.find((one) => one.title === lines && one !== across);
    const ticks = values(across), words = across.form === "text" || ticks.includes(null);
    const fits = (row) => Object.entries(kept).every(([title, value]) => {
      const column = part.dimensions.find((one) => one.title === title);
      return column === across || column === by || text(column, column.values[row]) === value;
    });
    const rows = of.mean.map((_, row) => row).filter(fits);
    const at = (row) => (words ? ticks.indexOf(across.values[row]) : across.values[row]);
    const series = (by ? values(by) : [null]).map((value, place) => {
      const mine = rows.filter((row) => !by || by.values[row] === value).sort((a, b) => at(a) - at(b));
      const column = (name) => (of[name].length ? mine.map((row) => of[name][row]) : []);
      const name = by ? text(by, value) : metric;
      return { name, x: mine.map(at), y: column("mean"), low: column("low"), high: column("high"), kind: "line", tags: {}, colour: place, dashes: Math.floor(place / 8) };
    });
    const axis = (label, words) => ({ label, log: false, low: null, high: null, words });
    return { x: axis(x, words ? ticks.map((value) => text(across, value)) : []), y: axis(metric, []), series: series.filter((one) => one.x.length), marks: [] };
  };

  kit.drawers.explorer = (place, part) => {
    const several = part.dimensions.filter((column) => values(column).length > 1);
    const chosen = { metric: part.metrics[0].title, x: part.x, lines: part.lines, kept: {} };
    for (const column of several) chosen.kept[column.title] = text(column, values(column)[0]);
    const controls = node("div", { class: "controls" }), canvas = node("div");
    const state = { chosen: {}, hidden: new Set() };
    const draw = () => canvas.clientWidth && charts.draw(canvas, chart(part, chosen), state);
    const offered = () => {
      const titles = (columns) => columns.map(({ title }) => [title, title]);
      const change = (name) => (value) => { chosen[name] = value; state.hidden.clear(); offered(); draw(); };
      const rest = several.filter(({ title }) => title !== chosen.x && title !== chosen.lines);
      const kept = (column) => choice(column.title, values(column).map((value) => [text(column, value), text(column, value)]), chosen.kept[column.title], (value) => { chosen.kept[column.title] = value; draw(); });
      controls.replaceChildren(
        choice("metric", titles(part.metrics), chosen.metric, change("metric")),
        choice("against", titles(several.length ? several : part.dimensions), chosen.x, change("x")),
        choice("a line for each", [...titles(several.filter(({ title }) => title !== chosen.x)), ["", "-"]], chosen.lines === chosen.x ? "" : chosen.lines, change("lines")),
        ...rest.map(kept));
    };
    offered();
    place.append(controls, canvas);
    kit.redrawn(canvas, draw);
  };
})();

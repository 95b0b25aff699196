"use strict";
// The story of one request, which the rows of a table and of a Gantt chart ask for.
(() => {
  const { node } = kit;

  const written = (told) => [
    node("h3", {}, told.title),
    node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, ...told.table.header.map((cell) => node("th", { class: "words" }, cell)))),
      node("tbody", {}, ...told.table.rows.map((row) => node("tr", {}, ...row.map((cell, place) => node("td", { class: place === 1 ? null : "words story" }, cell))))))),
    node("dl", {}, ...told.facts.rows.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)])),
  ];

  kit.drawers.stories = (place, part) => {
    const keys = Object.keys(part.stories);
    const show = (key) => part.stories[key] && place.replaceChildren(...written(part.stories[key]));
    if (keys.length) show(keys[0]);
    document.addEventListener("story", ({ detail }) => {
      show(detail);
      place.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  };
})();

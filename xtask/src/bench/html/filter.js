"use strict";
// Hides rows whose names lack one of the words, and unfolds the groups that have the others.
(() => {
  const box = document.getElementById("words");
  if (!box) return;
  document.getElementById("filter").hidden = false;
  const rows = [...document.querySelectorAll("[data-row]")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const before = groups.map((group) => group.open);
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const name = row.dataset.row.toLowerCase();
      row.hidden = !words.every((word) => name.includes(word));
    }
    groups.forEach((group, index) => {
      const found = group.querySelector("[data-row]:not([hidden])");
      group.hidden = !found;
      group.open = words.length ? Boolean(found) : before[index];
    });
  });
})();

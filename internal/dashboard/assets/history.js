// Draws the plots of the history page from the data in the page.
"use strict";
const box = document.getElementById("plots");
const series = JSON.parse(box.dataset.series);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
for (const [name, paint] of [["margin", "--good"], ["proving", "--busy"], ["gas", "--risk"], ["missed", "--bad"]]) {
  const place = document.createElement("div");
  box.append(place);
  const draw = () => new uPlot({
    title: box.dataset[name], width: place.clientWidth - 16, height: 180, axes: [axis, axis], scales: { y: { range: (u, min, max) => [0, Math.max(max, 1)] } },
    series: [{}, { label: box.dataset[name], stroke: colour(paint), width: 2, points: { show: series.x.length < 200, size: 5 }, spanGaps: true }],
  }, [series.x, series[name]], place);
  let plot = draw();
  addEventListener("resize", () => plot.setSize({ width: place.clientWidth - 16, height: 180 }));
}

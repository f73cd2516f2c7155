// The fields of a search, in sections: names and choices are those that the API tells.

import { list } from "./api.js";
import { h } from "./dom.js";
import { choice, listed, number, text } from "./form_fields.js";
import { firstField } from "./form_first.js";
import { limitsField } from "./form_limits.js";
import { labelOf } from "./form_metrics.js";
import { recipeField } from "./form_recipe.js";
import { fieldOf, proposing, words } from "./form_schema.js";
import { spaceField } from "./form_space.js";

const CHOICES = { sampler: "/samplers", early_stopping: "/early-stopping", pruning: "/pruning-methods", recovery: "/recoveries", probes: "/probes" };
const RECOVERY = ["steps", "pruning", "recovery", "refit"];
const PLACED = ["name", "teacher", "space", "accuracy", "costs", "limits", "budget", "data", "recipe", "first", ...RECOVERY];

/** Everything a form is made of, read from the API: `choices` by the name of their field. */
export async function catalogue(choices = CHOICES) {
  const found = { trackers: await list("/trackers", {}, 1000), recipes: await list("/recipes"), datasets: await list("/datasets"), choices: {} };
  // One after the other: a service that has just begun reads its own source for them, once.
  for (const [name, path] of Object.entries(choices)) found.choices[name] = await list(path);
  return found;
}

/** {fields, sections: [{title, fields, folded}], ...} for a schema, a catalogue and all metrics. */
export function searchFields(schema, found, known) {
  const of = schema.properties;
  const labels = Object.fromEntries([...known.values()].map((one) => [one.name, one.label]));
  const one = (name, more = {}) => fieldOf(name, of[name], `/spec/${name}`, { ...abouts(found, name), ...more });
  const teacher = proposing({
    id: "teacher", label: "Teacher", pointer: "/spec/teacher", attributes: { required: true, placeholder: found.trackers[0]?.name },
    help: "A tracker that ships or was uploaded, or JOB/NUMBER: what trial NUMBER of a job has come to.",
  }, found.trackers.map((each) => [each.name, `${each.family}: ${each.note}`]));
  const space = spaceField({ label: "What may be cut", pointer: "/spec/space", help: of.space.description });
  const recipe = recipeField(found.recipes, () => teacher.read(), { label: "Recipe", pointer: "/spec/recipe", help: of.recipe.description });
  const first = firstField({ label: "Tried first", pointer: "/spec/first", help: `${of.first.description} A line each.` });
  const limits = limitsField([...known.values()].filter((each) => each.uses.includes("limits")), {
    label: "Limits", pointer: "/spec/limits", help: `${of.limits.description} 10M, 300k and 8 ms are understood.`,
  });
  const sections = [
    { title: "What", fields: [
      text({ label: "Name", pointer: "/spec/name", help: of.name.description.split(". ")[0], attributes: { required: true, maxlength: 200 } }),
      teacher,
      listed({ label: "Labels", pointer: "/labels", help: "Words with commas between, to find it again." }),
      number({ label: "Priority", pointer: "/priority", least: -100, most: 100, step: 1, otherwise: 0, help: "10 are worth an hour of waiting." }),
    ] },
    { title: "Goal", fields: [one("accuracy", { labels }), one("costs", { labels }), limits] },
    { title: "Space", fields: [space, first], wide: true },
    { title: "Budget", note: of.budget.description, fields: inner(of.budget, "/spec/budget") },
    { title: "Recovery", fields: [...RECOVERY.slice(0, 1).map((name) => one(name)), recipe, ...RECOVERY.slice(1).map((name) => one(name))] },
    { title: "Data", note: of.data.description, folded: true, fields: dataFields(of.data, found.datasets) },
    { title: "How", note: "Who proposes candidates, who stops them early, seeds, earlier jobs to learn from.", folded: true,
      fields: Object.keys(of).filter((name) => !PLACED.includes(name)).map((name) => one(name, { labels })) },
  ];
  const fields = sections.flatMap((section) => section.fields);
  return { fields, sections, teacher, space, recipe, limits };
}

function abouts(found, name) {
  const choices = found.choices[name];
  return choices ? { about: Object.fromEntries(choices.map((one) => [one.name, one.about])) } : {};
}

function inner(schema, pointer) {
  return Object.entries(schema.properties).map(([name, one]) => fieldOf(name, one, `${pointer}/${name}`));
}

/** The fields of /spec/data. */
export function dataFields(schema, datasets) {
  const of = schema.properties, at = "/spec/data";
  const about = Object.fromEntries(datasets.map((one) => [one.name, `${one.about} Splits: ${one.splits.join(", ")}.${one.needs_root ? " An operator says where it lies." : ""}`]));
  const splits = (name) => proposing({ id: `data-${name}`, label: words(name), help: of[name].description, pointer: `${at}/${name}`, attributes: { placeholder: of[name].default } }, []);
  const dataset = choice({ label: "Data set", pointer: `${at}/dataset`, help: of.dataset.description, about, otherwise: of.dataset.default, options: of.dataset.enum.map((name) => [name, name]) });
  const train = splits("train"), judged = splits("judged_on");
  const propose = () => {
    const chosen = datasets.find((one) => one.name === (dataset.read() ?? of.dataset.default));
    for (const field of [train, judged]) field.propose((chosen?.splits ?? []).map((name) => [name, ""]));
  };
  dataset.element.addEventListener("change", propose);
  propose();
  const rest = Object.keys(of).filter((name) => !["dataset", "train", "judged_on"].includes(name));
  return [dataset, train, judged, ...rest.map((name) => fieldOf(name, of[name], `${at}/${name}`))];
}

/** The sections as elements. */
export function drawnSections(sections) {
  return sections.map(({ title, note, fields, folded, wide }) => {
    const inside = [note ? h("p", { class: "quiet small" }, note) : null, h("div", { class: wide || title === "Goal" ? "" : "fields" }, fields.map((field) => field.element))];
    return folded ? h("details", { class: "fold" }, h("summary", {}, h("h2", {}, title)), inside) : h("section", {}, h("h2", {}, title), inside);
  });
}

/** What people read of a teacher on offer. */
export function aboutTeacher(tracker, known) {
  if (!tracker) return "";
  const figures = Object.entries(tracker.accuracy).slice(0, 1).map(([name, value]) => `${labelOf(known, name).toLowerCase()} ${value.toFixed(3)}`);
  return `${tracker.family}, ${tracker.note || tracker.kind}${figures.length ? `; ${figures[0]}` : ""}.`;
}

// The fields of a tuning of a recipe, in sections: the schema says which there are and what they are for.

import { json, listed, number, text } from "./form_fields.js";
import { OF_A_TRIAL } from "./form_first.js";
import { recipeField } from "./form_recipe.js";
import { fieldOf, proposing } from "./form_schema.js";
import { catalogue, dataFields } from "./form_search.js";

const CHOICES = { pruning: "/pruning-methods", recovery: "/recoveries" };
const TRIED = ["trials", "scheduler", "metric", "seconds"];
const CUT = ["architecture", "kept_layers", "pruning", "refit"];
const PLACED = ["name", "of", "teacher", "recipe", "recovery", "steps", "vary", "data", ...TRIED, ...CUT];
const VARIED = '{"learning_rate": {"least": 1e-4, "most": 1e-2, "log": true}, "schedule": ["cosine", "drop"], "clip": null}';

/** Everything the form is made of, read from the API. */
export const tuningCatalogue = () => catalogue(CHOICES);

/** {fields, sections: [{title, fields, folded}], of, teacher, recipe} for a schema and a catalogue. */
export function tuningFields(schema, found) {
  const known = schema.properties;
  const one = (name) => fieldOf(name, known[name], `/spec/${name}`, abouts(found, name));
  // Of a trial another one may be usual: what is chosen here is said, even where it is the default.
  const said = (name) => fieldOf(name, { ...known[name], default: undefined }, `/spec/${name}`, abouts(found, name));
  const of = trialField(known.of);
  const teacher = proposing({
    id: "teacher", label: "Teacher", pointer: "/spec/teacher", attributes: { placeholder: found.trackers[0]?.name },
    help: known.teacher.description,
  }, found.trackers.map((each) => [each.name, `${each.family}: ${each.note}`]));
  const recipe = recipeField(found.recipes, () => teacher.read(), {
    label: "Recipe", pointer: "/spec/recipe", help: known.recipe.description, otherwise: "The trial's or teacher's (default)",
  });
  const vary = json({ label: "Vary", pointer: "/spec/vary", rows: 5, help: known.vary.description, attributes: { placeholder: VARIED } });
  const rest = Object.keys(known).filter((name) => !PLACED.includes(name)).map((name) => one(name));
  const sections = [
    { title: "What", fields: [
      text({ label: "Name", pointer: "/spec/name", help: known.name.description, attributes: { required: true, maxlength: 200 } }), of, teacher,
      listed({ label: "Labels", pointer: "/labels", help: "Words with commas between, to find it again." }),
      number({ label: "Priority", pointer: "/priority", least: -100, most: 100, step: 1, otherwise: 0, help: "10 are worth an hour of waiting." }),
    ] },
    { title: "What is tried", fields: [...TRIED.map((name) => one(name)), vary] },
    { title: "The recipe to start from", fields: [recipe, one("steps"), said("recovery")] },
    { title: "The cut", note: "Of a trial that is named above all of this is known; what is said here stands instead.", folded: true, fields: CUT.map(said) },
    { title: "Data", note: `${known.data.description} Of a trial: that of its job, unless something is said here; then nothing of it is.`, folded: true, fields: dataFields(known.data, found.datasets) },
    { title: "How", note: "Where it is trained, how many at once, by which lot.", folded: true, fields: rest },
  ];
  return { fields: sections.flatMap((section) => section.fields), sections, of, teacher, recipe };
}

function abouts(found, name) {
  const choices = found.choices[name];
  return choices ? { about: Object.fromEntries(choices.map((one) => [one.name, one.about])) } : {};
}

function trialField(schema) {
  const field = text({ label: "For the trial", pointer: "/spec/of", help: schema.description, attributes: { placeholder: "street-3f9c0a17be/12" } });
  const wrong = field.check;
  field.check = () => wrong() || (field.read() === undefined || OF_A_TRIAL.test(field.read()) ? "" : "Expected JOB/NUMBER of a trial, as street-3f9c0a17be/12.");
  return field;
}

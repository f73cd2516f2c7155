// The recipe of a recovery: the teacher's own, one that a job has tuned, or fields of one's own.

import { h, put } from "./dom.js";
import { around } from "./form_fields.js";

const OWN = "{}";

/** `recipes`: GET /recipes; `teacher()`: the name that is in the form now; `otherwise`: which one it is else. */
export function recipeField(recipes, teacher, { otherwise = "The teacher's own (default)", ...about }) {
  const select = h("select", {});
  const area = h("textarea", { rows: 5, spellcheck: "false", "aria-label": "Fields of the recipe, as JSON" });
  const start = h("button", { type: "button", onclick: () => { prefill(); told(); } }, "Begin with the teacher's");
  const own = h("div", { hidden: true }, area, h("div", {}, start));
  const usual = () => recipes.find((one) => one.job === null && one.purpose === "recovery" && one.teacher === teacher())?.recipe;
  const told = () => area.dispatchEvent(new Event("input", { bubbles: true }));
  const field = around(h("div", {}, select, own), {
    ...about, labelled: select,
    read() {
      if (select.value === "") return undefined;
      return select.value === OWN ? parsed() ?? {} : select.value;
    },
    fill(recipe) {
      const isOwn = recipe !== undefined && typeof recipe !== "string";
      offer(isOwn ? OWN : recipe ?? "");
      if (isOwn) area.value = JSON.stringify(recipe, null, 1);
      fold();
    },
    check: () => (select.value === OWN && parsed() === undefined ? "The recipe's fields are not JSON." : ""),
  });
  const parsed = () => { try { return JSON.parse(area.value); } catch { return undefined; } };

  function fold() {
    own.hidden = select.value !== OWN;
    start.hidden = !usual();
  }

  function offer(chosen) {
    const tuned = recipes.filter((one) => one.job !== null);
    const mine = tuned.filter((one) => one.teacher === teacher()), others = tuned.filter((one) => !mine.includes(one));
    const option = (one) => h("option", { value: one.job }, one.about.length > 90 ? `${one.about.slice(0, 89)}…` : one.about);
    put(select, h("option", { value: "" }, otherwise), mine.map(option),
      others.length ? h("optgroup", { label: "Tuned for other teachers" }, others.map(option)) : null,
      h("option", { value: OWN }, "Fields of my own …"));
    if (chosen && ![...select.options].some((one) => one.value === chosen)) select.append(h("option", { value: chosen }, `Of job ${chosen}`));
    select.value = chosen;
  }

  const prefill = () => { area.value = JSON.stringify(usual() ?? {}, null, 1); };
  select.addEventListener("change", () => {
    if (select.value === OWN && area.value.trim() === "") prefill();
    fold();
  });
  /** The teacher is another one now. */
  field.again = () => { offer(select.value); fold(); };
  field.fill(undefined);
  return field;
}

// Forms from JSON schema.

import { fresh, h } from "./nodes.js";
import type { Schema } from "./schema.js";
import { resolve } from "./schema.js";

/** Fields for a value. `read()` gives it, or throws an Error that says what is wrong. */
export interface Form {
  el: HTMLElement;
  read: () => unknown;
}

/** What one field is made of. */
interface Field {
  schema: Schema;
  id: string;
  title: string;
  help: HTMLElement | null;
  given: unknown;
}

/** Fields for a value of that schema. */
export function form(schema: unknown, value: unknown, root = schema, label = "", depth = 0): Form {
  const found = resolve(schema as Schema, root as Schema);
  const help = typeof found.description === "string" ? found.description : null;
  const field: Field = {
    schema: found,
    id: fresh("f"),
    title: label || found.title || "Answer",
    help: help === null ? null : h("span", { class: "quiet", text: ` ${help}` }),
    given: value === undefined ? found.default : value,
  };
  if (Array.isArray(found.enum) || "const" in found) return choiceField(field);
  if (found.type === "boolean") return checkField(field);
  if (found.type === "integer" || found.type === "number") return numberField(field);
  if (found.type === "string") return textField(field);
  if (found.type === "object" && found.properties && depth < 4)
    return objectField(field, found.properties, root, depth);
  return jsonField(field);
}

function labelled({ id, title, help }: Field, input: HTMLElement, read: () => unknown): Form {
  return { el: h("div", { class: "field" }, h("label", { for: id }, title, help), input), read };
}

function choiceField(field: Field): Form {
  const { schema, id, given } = field;
  const options = schema.enum || [schema.const];
  const select = h("select", { id });
  if (schema.nullable) select.append(h("option", { value: "-1", text: "(nothing)" }));
  options.forEach((option, at) => {
    const text = typeof option === "string" ? option : JSON.stringify(option);
    select.append(h("option", { value: String(at), text }));
  });
  const at = options.findIndex((option) => JSON.stringify(option) === JSON.stringify(given));
  if (at >= 0) select.value = String(at);
  return labelled(field, select, () => (select.value === "-1" ? null : options[Number(select.value)]));
}

function checkField({ id, title, help, given }: Field): Form {
  const input = h("input", { id, type: "checkbox", checked: Boolean(given) });
  return {
    el: h("div", { class: "field box" }, input, h("label", { for: id }, title, help)),
    read: () => input.checked,
  };
}

function numberField(field: Field): Form {
  const { schema, id, title } = field;
  const { minimum, maximum } = schema;
  const given = field.given as number | null | undefined;
  const whole = schema.type === "integer";
  const input = h("input", { id, type: "number", step: whole ? "1" : "any", min: minimum, max: maximum });
  if (given !== undefined && given !== null) input.value = String(given);
  return labelled(field, input, () => {
    const optional = schema.nullable || schema.default !== undefined;
    if (input.value === "" && optional) return given === undefined ? null : schema.default;
    const value = Number(input.value);
    if (input.value === "" || !Number.isFinite(value)) throw new Error(`${title}: a number is needed`);
    if (whole && !Number.isInteger(value)) throw new Error(`${title}: a whole number is needed`);
    if (value < minimum! || value > maximum!) throw new Error(`${title}: from ${minimum ?? "…"} to ${maximum ?? "…"}`);
    return value;
  });
}

function textField(field: Field): Form {
  const { schema, id, title, given } = field;
  const long = typeof given === "string" && (given.length > 60 || given.includes("\n"));
  const secret = schema.format === "password" || schema.writeOnly;
  const type = schema.format === "date" ? "date" : secret ? "password" : "text";
  const input = long ? h("textarea", { id, rows: "4" }) : h("input", { id, type, autocomplete: "off" });
  if (typeof given === "string") input.value = given;
  return labelled(field, input, () => {
    const { value } = input;
    const { minLength, maxLength } = schema;
    if (schema.nullable && value === "" && given === null) return null;
    if (minLength && value.length < minLength) throw new Error(`${title}: at least ${minLength} characters`);
    if (maxLength && value.length > maxLength) throw new Error(`${title}: at most ${maxLength} characters`);
    return value;
  });
}

function objectField(field: Field, properties: Record<string, Schema>, root: unknown, depth: number): Form {
  const { schema, title } = field;
  const given = field.given && typeof field.given === "object" ? (field.given as Record<string, unknown>) : null;
  const parts = Object.entries(properties).map(([name, one]) => {
    const required = (schema.required || []).includes(name);
    const value = given && Object.hasOwn(given, name) ? given[name] : undefined;
    return { name, required, ...form(one, value, root, `${name}${required ? "" : " (optional)"}`, depth + 1) };
  });
  const el = depth ? h("fieldset", {}, h("legend", { text: title })) : h("div", { class: "fields" });
  el.append(...parts.map((part) => part.el));
  const read = (): unknown => {
    const made: Record<string, unknown> = { ...given };
    for (const part of parts) {
      const value = part.read();
      // Defined, not set: a property may be called `__proto__`.
      const whole = { value, enumerable: true, writable: true, configurable: true };
      if (value !== undefined) Object.defineProperty(made, part.name, whole);
      else if (part.required) throw new Error(`${part.name} is needed`);
    }
    return made;
  };
  return { el, read };
}

function jsonField(field: Field): Form {
  const area = h("textarea", { id: field.id, rows: "4", class: "code", spellcheck: "false" });
  if (field.given !== undefined) area.value = JSON.stringify(field.given, null, 2);
  return labelled(field, area, () => {
    if (area.value.trim() === "") return undefined;
    try {
      return JSON.parse(area.value) as unknown;
    } catch (error) {
      throw new Error(`${field.title}: not JSON (${(error as Error).message})`);
    }
  });
}

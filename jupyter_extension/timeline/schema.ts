// JSON schemas as forms need them. They come from tools: nothing in one is sure.

/** What a form looks at; `nullable` is ours: null was one of its types. */
export interface Schema {
  $ref?: unknown;
  anyOf?: unknown;
  oneOf?: unknown;
  allOf?: unknown;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  title?: string;
  description?: unknown;
  format?: string;
  writeOnly?: boolean;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  nullable?: boolean;
}

/** A schema with its references followed, and null taken out of its types. */
export function resolve(schema: Schema, root: Schema): Schema {
  for (let turn = 0; turn < 20 && schema && typeof schema === "object"; turn++) {
    if (typeof schema.$ref === "string" && schema.$ref.startsWith("#/")) {
      schema = { ...lookUp(root, schema.$ref), ...without(schema, "$ref") };
      continue;
    }
    const choice = schema.anyOf || schema.oneOf || schema.allOf;
    if (Array.isArray(choice)) {
      const some = choice.filter((one: Schema | null) => one && one.type !== "null") as Schema[];
      if (some.length === 1) {
        const own = without(schema, "anyOf", "oneOf", "allOf");
        schema = { ...some[0], ...own, nullable: some.length < choice.length };
        continue;
      }
    }
    if (Array.isArray(schema.type)) {
      const types = schema.type.filter((one) => one !== "null");
      const type = types.length === 1 ? types[0] : undefined;
      return { ...schema, type, nullable: types.length < schema.type.length };
    }
    return schema;
  }
  return schema || {};
}

const without = (schema: Schema, ...keys: string[]): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)));

function lookUp(root: Schema, path: string): Schema | undefined {
  let found: unknown = root;
  for (const part of path.slice(2).split("/")) {
    found = found && Object.hasOwn(found, part) ? (found as Record<string, unknown>)[part] : undefined;
  }
  return found as Schema | undefined;
}

type Fields = Record<string, unknown>;

/** Only what was changed: what was left alone may be shown with dots for a secret. */
export function changed(before: unknown, after: unknown): Fields {
  const was = before as Fields | null | undefined;
  const differs = ([key, value]: [string, unknown]): boolean => JSON.stringify(value) !== JSON.stringify(was?.[key]);
  return Object.fromEntries(Object.entries((after || {}) as Fields).filter(differs));
}

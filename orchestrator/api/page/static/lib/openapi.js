// The API's own description, taken apart for reading: routes in groups, and the shapes that they speak.

const METHODS = ["get", "put", "post", "delete"];

/** Routes as `[{method, path, group, operation, capability}]`, in their order. */
export function routesOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    METHODS.filter((each) => methods[each]).map((method) => ({
      method: method.toUpperCase(),
      path,
      group: groupOf(path),
      operation: methods[method],
      capability: methods[method].description?.match(/`([^`]+)`/)?.[1] ?? "",
    })));
}

function groupOf(path) {
  const parts = path.replace(/^\/api\/v1\//, "").split("/").filter(Boolean);
  return parts[0] === "orchestrator" ? parts[1] : path.startsWith("/api/v1/") && parts.length > 1 ? parts[0] : "others";
}

/** Whether all words are somewhere in what is told of a route. */
export function fits(route, words) {
  const text = [route.method, route.path, route.operation.summary, route.operation.description, ...route.operation.parameters.map((each) => `${each.name} ${each.description}`)].join(" ").toLowerCase();
  return words.every((each) => text.includes(each));
}

/** The schema of a request's body; undefined where it takes none. */
export const bodyOf = (operation) => schemaIn(operation.requestBody?.content);

/** The schema of an answer that went well. */
export const answerOf = (operation) => schemaIn(operation.responses["200"]?.content);

const schemaIn = (content) => Object.values(content ?? {})[0]?.schema;

/** The name of a shape that has one. */
export const nameOf = (schema) => schema?.$ref?.split("/").at(-1) ?? "";

/** The type of a value in a few words, such as `list of Task` or `text or null`. */
export function typeOf(schema) {
  if (!schema || !Object.keys(schema).length) return "anything";
  if (schema.$ref) return nameOf(schema);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" or ");
  const some = schema.anyOf ?? schema.oneOf;
  if (some) return some.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? schema.prefixItems?.[0])}`;
  if (schema.type === "object") return typeof schema.additionalProperties === "object" ? `map to ${typeOf(schema.additionalProperties)}` : "object";
  const words = { string: schema.format === "date-time" ? "time" : "text", integer: "whole number", number: "number", boolean: "true or false", null: "null" };
  return words[schema.type] ?? String(schema.type ?? "anything");
}

/** The names of shapes within a schema, each once. */
export function shapesIn(schema) {
  if (!schema) return [];
  if (schema.$ref) return [nameOf(schema)];
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), schema.items, typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined];
  return [...new Set(inner.filter(Boolean).flatMap(shapesIn))];
}

/** A smallest body that has what a schema requires. */
export function exampleOf(schema, schemas, depth = 0) {
  if (!schema || depth > 4) return null;
  if (schema.$ref) return exampleOf(schemas[nameOf(schema)], schemas, depth + 1);
  if ("default" in schema) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return exampleOf(schema.anyOf[0], schemas, depth + 1);
  if (schema.type === "object") return Object.fromEntries((schema.required ?? []).map((name) => [name, exampleOf(schema.properties?.[name], schemas, depth + 1)]));
  return { string: "...", integer: 1, number: 1, boolean: true, array: [] }[schema.type] ?? null;
}

// The API, from its own description.

import { h, loading, panel } from "./dom.js";
import { live } from "./live.js";

const EXAMPLES = { "/api/v1/candles": "?symbol=BTCUSDT&interval=1m&limit=5", "/api/v1/indicators": "?symbol=BTCUSDT&interval=1m&columns=rsi_14,sma_20&limit=5", "/api/v1/marks": "?symbol=BTCUSDT", "/api/v1/gold/{name}": "", "/api/v1/changes": `?since=${new Date(Date.now() - 3600000).toISOString().slice(0, 19)}Z` };

function kind(schema) {
  const one = schema.anyOf?.find(({ type }) => type !== "null") ?? schema;
  return [one.enum?.join(", ") ?? one.const ?? one.format ?? one.type ?? "", one.maximum !== undefined ? `${one.minimum} to ${one.maximum}` : ""].filter(Boolean).join(", ");
}

function endpoint(method, path, { description, parameters = [] }, schemas) {
  const resolved = (schema) => (schema.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema);
  const example = path === "/api/v1/gold/{name}" ? "/api/v1/gold/market_overview?limit=5" : path + (EXAMPLES[path] ?? "");
  return h("article", { class: "endpoint" }, h("h3", {}, `${method.toUpperCase()} ${path}`), h("p", {}, description),
    parameters.length ? h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, parameters.map((one) => h("tr", {}, h("td", {}, h("code", {}, one.name), one.required ? " required" : ""), h("td", { class: "soft" }, kind(resolved(one.schema))), h("td", { class: "soft" }, one.schema.default !== undefined && one.schema.default !== null && one.schema.default !== "" ? `default ${one.schema.default}` : ""), h("td", { class: "soft" }, one.description ?? "")))))) : null,
    method === "get" ? h("p", {}, h("a", { href: example, target: "_blank" }, example)) : null);
}

export function open(main) {
  live.show({});
  const body = loading("");
  main.replaceChildren(h("div", { class: "sheet" }, h("div", { class: "bar" }, h("h1", {}, "API"), h("span", { class: "soft" }, "JSON, or with format=csv or format=arrow. The description for machines: "), h("a", { href: "/api/v1/openapi.json", target: "_blank" }, "/api/v1/openapi.json")), panel("Endpoints", body, { note: "a refusal is {\"error\": a sentence}" })));
  fetch("/api/v1/openapi.json").then((answer) => answer.json()).then(({ paths, components }) => body.replaceChildren(...Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, what]) => endpoint(method, path, what, components?.schemas ?? {})))), () => body.replaceChildren(h("p", { class: "fault" }, "The dashboard's server does not answer.")));
  return {};
}

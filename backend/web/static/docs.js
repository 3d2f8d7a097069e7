// Draws /openapi.json. Everything that comes from the file is set as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

/** An element with attributes and children; strings become text. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** `code` and **strong** in one paragraph. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(Boolean).map((part) => {
    if (part.startsWith("`")) return el("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return el("strong", {}, part.slice(2, -2));
    return part;
  });
}

function paragraphs(text) {
  return (text || "").trim().split(/\n\s*\n/).filter(Boolean).map((part) => el("p", {}, ...inline(part.replace(/\s*\n\s*/g, " "))));
}

class Reference {
  constructor(spec) {
    this.spec = spec;
  }

  resolve(schema) {
    let found = schema || {};
    while (found.$ref) found = found.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/")], this.spec);
    return found;
  }

  refName(schema) {
    return schema && schema.$ref ? schema.$ref.split("/").pop() : "";
  }

  /** The schema without `null`, and whether it may be null. */
  nullable(schema) {
    const found = this.resolve(schema);
    const options = found.anyOf || found.oneOf;
    if (!options) return [schema, false];
    const real = options.filter((option) => option.type !== "null");
    if (real.length === options.length) return [schema, false];
    return [real.length === 1 ? { ...found, anyOf: undefined, oneOf: undefined, ...real[0] } : { ...found, anyOf: real }, true];
  }

  typeName(schema) {
    const [inner, orNull] = this.nullable(schema);
    const found = this.resolve(inner);
    const options = found.anyOf || found.oneOf;
    let name;
    if (options) name = options.map((option) => this.typeName(option)).join(" or ");
    else if (found.enum) name = found.enum.map((value) => JSON.stringify(value)).join(" | ");
    else if ("const" in found) name = JSON.stringify(found.const);
    else if (found.type === "array") name = `list of ${this.typeName(found.items)}`;
    else if (found.type === "object" && found.additionalProperties && found.additionalProperties !== true && !found.properties)
      name = `map of ${this.typeName(found.additionalProperties)}`;
    else name = this.refName(inner) || [found.type || "any", found.format].filter(Boolean).join(", ");
    return orNull ? `${name} or null` : name;
  }

  /** The object schemas below a schema, through lists, maps and alternatives. */
  objects(schema) {
    const found = this.resolve(this.nullable(schema)[0]);
    if (found.properties) return [found];
    if (found.type === "array") return this.objects(found.items);
    if (found.anyOf || found.oneOf) return (found.anyOf || found.oneOf).flatMap((option) => this.objects(option));
    if (found.additionalProperties && found.additionalProperties !== true) return this.objects(found.additionalProperties);
    return [];
  }

  /** Definition lists of the objects in a schema; `marks` says whether to mark what a caller must send. */
  fields(schema, marks, seen = []) {
    const lists = [];
    for (const object of this.objects(schema)) {
      if (seen.includes(object)) continue;
      const list = el("dl", { class: "fields" });
      for (const [name, property] of Object.entries(object.properties)) {
        const found = this.resolve(property);
        const needed = marks && (object.required || []).includes(name);
        list.append(
          el("dt", {}, el("code", {}, name), el("span", { class: "type" }, this.typeName(property)), needed ? el("span", { class: "need" }, "required") : null),
          el("dd", {}, ...inline(property.description || found.description || ""), ...this.fields(property, marks, [...seen, object])),
        );
      }
      lists.push(list);
    }
    return lists;
  }

  example(schema, seen = []) {
    const [inner, orNull] = this.nullable(schema);
    const found = this.resolve(inner);
    const given = [schema && schema.examples, inner && inner.examples, found.examples].find((list) => Array.isArray(list) && list.length);
    if (given) return given[0];
    if ("default" in found && found.default !== null) return found.default;
    if ("const" in found) return found.const;
    if (found.enum) return found.enum[0];
    if (found.anyOf || found.oneOf) return this.example((found.anyOf || found.oneOf)[0], seen);
    if (found.properties) {
      if (seen.includes(found)) return {};
      return Object.fromEntries(Object.entries(found.properties).map(([name, property]) => [name, this.example(property, [...seen, found])]));
    }
    if (found.type === "array") return [this.example(found.items, seen)];
    if (found.type === "object") return {};
    if (orNull && !found.type) return null;
    if (found.format === "date-time") return "2026-11-21T09:00:00Z";
    if (found.format === "uuid") return "018f2b6c-7d31-7c5a-9a1e-3b0f6d2e4c10";
    if (found.format === "hex") return "0x";
    return { string: "…", integer: found.minimum ?? 1, number: 1, boolean: true }[found.type] ?? null;
  }
}

function codeBlock(title, text) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${title.toLowerCase()}` }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return el("div", {}, el("div", { class: "pre-head" }, el("h3", {}, title), button), el("pre", { tabindex: "0" }, text));
}

function curl(reference, method, path, operation, media) {
  const query = (operation.parameters || []).filter((p) => p.in === "query" && p.required).map((p) => `${p.name}=${encodeURIComponent(String(reference.example(p.schema)))}`);
  const filled = path.replace(/\{([^}]+)\}/g, (_, name) => `<${name}>`) + (query.length ? `?${query.join("&")}` : "");
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${location.origin}${filled}'`];
  if (needsSignIn(operation)) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  if (media && media[0] === "application/json") {
    lines.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(reference.example(media[1].schema))}'`);
  } else if (media) {
    lines.push("-F 'file=@work.mp4'", "-F 'metadata=@metadata.json;type=application/json'");
  }
  return lines.join(" \\\n  ");
}

function needsSignIn(operation) {
  return (operation.security || []).length > 0;
}

function parameters(reference, operation) {
  const list = operation.parameters || [];
  if (!list.length) return [];
  const fields = el("dl", { class: "fields" });
  for (const parameter of list) {
    fields.append(
      el("dt", {}, el("code", {}, parameter.name), el("span", { class: "type" }, `${reference.typeName(parameter.schema)}, in the ${parameter.in}`), parameter.required ? el("span", { class: "need" }, "required") : null),
      el("dd", {}, ...inline(parameter.description || parameter.schema.description || "")),
    );
  }
  return [el("h3", {}, "Parameters"), fields];
}

function answers(reference, operation) {
  return Object.entries(operation.responses || {}).map(([status, response]) => {
    const media = Object.entries(response.content || {})[0];
    const schema = media && media[1].schema;
    const summary = el("summary", {}, el("span", { class: `status s${status[0]}` }, status), ...inline(response.description === "Successful Response" ? "" : response.description || ""), schema ? el("span", { class: "type" }, reference.typeName(schema)) : null);
    const drawn = el("details", { class: "answer" }, summary);
    if (schema) {
      drawn.append(...reference.fields(schema, false));
      if (status[0] === "2") drawn.append(codeBlock("Example answer", JSON.stringify(reference.example(schema), null, 2)));
    }
    if (status[0] === "2") drawn.open = true;
    return drawn;
  });
}

function drawOperation(reference, path, method, operation) {
  const title = ((operation.description || operation.summary || "").split("\n\n")[0] || "").replace(/\s*\n\s*/g, " ");
  const box = el("details", { class: "op", id: operation.operationId },
    el("summary", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), el("span", { class: "path" }, path), el("span", { class: "title" }, ...inline(title))));
  box.dataset.words = `${path} ${method} ${operation.operationId} ${operation.description || ""}`.toLowerCase();
  box.addEventListener("toggle", () => {
    if (!box.open || box.dataset.drawn) return;
    box.dataset.drawn = "yes";
    const media = operation.requestBody ? Object.entries(operation.requestBody.content)[0] : null;
    const body = el("div", { class: "body" });
    body.append(...paragraphs((operation.description || "").split("\n\n").slice(1).join("\n\n")));
    body.append(el("p", {}, el("code", {}, operation.operationId), " ", needsSignIn(operation) ? el("span", { class: "sign" }, "sign-in needed") : ""));
    body.append(...parameters(reference, operation));
    if (media) body.append(el("h3", {}, `Body, ${media[0]}`), ...reference.fields(media[1].schema, true));
    body.append(codeBlock("Request", curl(reference, method, path, operation, media)));
    body.append(el("h3", {}, "Answers"), ...answers(reference, operation));
    box.append(body);
  });
  return box;
}

function draw(spec) {
  const reference = new Reference(spec);
  document.getElementById("title").append(" ", el("small", {}, spec.info.version));
  document.getElementById("about").append(...paragraphs(spec.info.description));
  const byTag = new Map((spec.tags || []).map((tag) => [tag.name, { description: tag.description, list: [] }]));
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const method of METHODS) {
      const operation = methods[method];
      if (!operation) continue;
      const tag = (operation.tags || ["other"])[0];
      if (!byTag.has(tag)) byTag.set(tag, { description: "", list: [] });
      byTag.get(tag).list.push({ path, method, operation });
    }
  }
  const index = document.getElementById("index");
  const operations = document.getElementById("operations");
  operations.replaceChildren();
  for (const [tag, { description, list }] of byTag) {
    if (!list.length) continue;
    const links = el("ul");
    const group = el("div", {}, el("h2", {}, tag), links);
    const section = el("section", { "aria-label": tag }, el("h2", { class: "tag" }, tag), el("p", { class: "lead" }, ...inline(description || "")));
    for (const { path, method, operation } of list) {
      const box = drawOperation(reference, path, method, operation);
      const words = operation.operationId.replaceAll("_", " ");
      const link = el("li", {}, el("a", { href: `#${operation.operationId}` }, words[0].toUpperCase() + words.slice(1)));
      link.dataset.words = box.dataset.words;
      links.append(link);
      section.append(box);
    }
    index.append(group);
    operations.append(section);
  }
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (item) => words.every((word) => item.dataset.words.includes(word));
    for (const item of document.querySelectorAll("[data-words]")) item.hidden = !fits(item);
    for (const part of [...index.children, ...operations.children]) part.hidden = !part.querySelector("[data-words]:not([hidden])");
    const left = operations.querySelectorAll("[data-words]:not([hidden])").length;
    document.getElementById("found").textContent = words.length ? `${left} found` : "";
  });
  window.addEventListener("hashchange", openTarget);
  openTarget();
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.matches("details")) {
    target.open = true;
    target.scrollIntoView();
  }
}

fetch("/openapi.json")
  .then((answer) => {
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer.json();
  })
  .then(draw)
  .catch((error) => {
    const state = document.getElementById("state") || document.getElementById("operations");
    state.className = "failed";
    state.textContent = `The description of the interface cannot be shown: ${error.message}. Nothing is lost; load the page again.`;
  });

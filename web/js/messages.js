// Shows sentences of this pack's nodes as toasts: of errors where the frontend hides them, and remarks about a run.
// Newer frontends show only that a node failed or rejected a value; the sentence with the remedy is two clicks away.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const PREFIX = "MagicDance";
const PATIENCE = 700; // ms until the frontend has shown an error itself
const LIFE = 30000; // ms

const isOurs = (type) => String(type ?? "").startsWith(PREFIX);
const titleOf = (type) => globalThis.LiteGraph?.registered_node_types?.[type]?.title ?? type;
const inOneLine = (text) => String(text).replace(/\s+/g, " ").trim();

function show(severity, type, sentence) {
  app.extensionManager?.toast?.add({ severity, summary: titleOf(type), detail: sentence, life: LIFE });
}

function showErrors(errors) {
  setTimeout(() => {
    const page = inOneLine(document.body.innerText); // visible text only
    for (const [sentence, type] of errors) if (!page.includes(sentence)) show("error", type, sentence);
  }, PATIENCE);
}

/** Return the sentences of a refused prompt: sentence -> type of the node. Several nodes may give the same one. */
function refusals(nodeErrors) {
  const found = new Map();
  for (const { class_type: type, errors } of Object.values(nodeErrors ?? {})) {
    for (const { type: kind, details } of isOurs(type) ? errors : []) {
      // details: "name of the input - sentence of VALIDATE_INPUTS"; the frontend words other kinds itself
      if (kind === "custom_validation_failed") found.set(inOneLine(details).replace(/^\w+ - /, ""), type);
    }
  }
  return found;
}

const remarks = new Map(); // node id -> remarks of its last execution, since a cached node sends none

app.registerExtension({
  name: "MagicDance.Messages",
  setup() {
    const queuePrompt = api.queuePrompt;
    api.queuePrompt = async function (...args) {
      try {
        return await queuePrompt.apply(this, args);
      } catch (error) {
        showErrors(refusals(error?.response?.node_errors));
        throw error;
      }
    };
    api.addEventListener("execution_error", ({ detail }) => {
      if (isOurs(detail?.node_type)) showErrors(new Map([[inOneLine(detail.exception_message), detail.node_type]]));
    });
    api.addEventListener("executing", ({ detail }) => remarks.delete(String(detail?.node ?? detail)));
    api.addEventListener("magicdance.remarks", ({ detail: { node, type, sentences } }) => {
      const made = sentences.map((sentence) => [type, sentence]);
      remarks.set(String(node), [...(remarks.get(String(node)) ?? []), ...made]);
      for (const remark of made) show("warn", ...remark);
    });
    api.addEventListener("execution_cached", ({ detail }) => {
      for (const node of detail?.nodes ?? []) for (const remark of remarks.get(String(node)) ?? []) show("warn", ...remark);
    });
  },
});

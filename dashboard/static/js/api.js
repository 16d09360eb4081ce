// What the server answers; a refusal is an Error whose message is a sentence for a person.

const AWAY = "The dashboard's server does not answer. ./monitor.sh shows whether it runs; this page goes on by itself.";

export async function get(path, values = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== null && one !== "") query.append(name, one);
  }
  return answered(`${path}${query.size ? `?${query}` : ""}`, { signal });
}

/** Have something done. */
export const post = (path) => answered(path, { method: "POST", headers: { "Content-Type": "application/json" } });

async function answered(path, options) {
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(AWAY);
  }
  const answer = await response.json().catch(() => ({ error: AWAY }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

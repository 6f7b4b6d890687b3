// The server: its data, and what can be asked of it.

const TOKEN = "cog-train-token";

class Unauthorized extends Error {}

const headers = () => {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
};

const ask = async (path, options = {}) => {
  const answer = await fetch(path, { ...options, headers: headers(), cache: "no-store", redirect: "error" });
  if (answer.status === 401) {
    say($("token-problem"), sessionStorage.getItem(TOKEN) ? "The server refuses this token." : "");
    show($("token"), true);
    throw new Unauthorized("the server wants a token");
  }
  if (!answer.ok) {
    let text = `the server answers ${answer.status}`;
    try {
      text = (await answer.json()).error || text;
    } catch { /* The status says it. */ }
    throw new Error(text);
  }
  return answer;
};

const runPath = (id, rest = "") => `/ui/runs/${encodeURIComponent(id)}${rest}`;

/** Data of a run, or of all of them. Parameters without a value are left out. */
const get = async (path, parameters = {}) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  const query = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return (await ask(query ? `${path}?${query}` : path)).json();
};

const picture = async (id, file) => URL.createObjectURL(await (await ask(runPath(id, `/samples/${encodeURIComponent(file)}`))).blob());

const command = (id, verb) => ask(`/trainings/${encodeURIComponent(id)}/${verb}`, { method: "POST" });

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token-text").value);
  $("token-text").value = "";
  show($("token"), false);
  poll();
});

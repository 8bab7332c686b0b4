/**
 * HTTP requests to the recorder, with the tab's access token where there is one.
 *
 * Where the recorder requires a token, the user is asked once for all requests that wait (`onTokenNeeded`). The token is
 * stored for this tab only.
 */

/** Where the recorder is: the folder of this page, which a proxy may have put below a path. Ends with a slash. */
export const BASE = new URL("../", import.meta.url).href;
/** Key of the tab's token. Two recorders below two paths of one origin share the tab's storage, not their tokens. */
const TOKEN = `recorder-token ${BASE}`;

/** The recorder rejected a request, or could not be reached. */
export class ApiError extends Error {
  /** @param {number} status 0 where there was no answer. @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The HTTP client of the page. */
export class Api {
  /**
   * @param {(wrong: string) => Promise<string>} onTokenNeeded Asks for a token; `wrong`: why the last one was
   *   rejected, in words, or "".
   */
  constructor(onTokenNeeded) {
    this.onTokenNeeded = onTokenNeeded;
    /** @type {Promise<string> | null} */
    this.asking = null; // while the user is asked
  }

  /** @returns {string | null} The tab's token. */
  get token() {
    return sessionStorage.getItem(TOKEN);
  }

  /**
   * Ask for a token, or wait for the dialog that is open.
   * @param {string | null} refused The token that was rejected.
   * @param {string} [why] Why it was.
   * @returns {Promise<string>}
   */
  async needToken(refused, why = "That token was not accepted.") {
    // Another request may have got a token meanwhile.
    if (this.token !== null && this.token !== refused) return this.token;
    this.asking ??= this.onTokenNeeded(refused === null ? "" : why).finally(() => {
      this.asking = null;
    });
    const token = await this.asking;
    sessionStorage.setItem(TOKEN, token);
    return token;
  }

  /**
   * Return the text of an answer.
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<string>}
   * @throws {ApiError}
   */
  async text(path, signal) {
    return (await this.response(path, signal)).text();
  }

  /**
   * Return the JSON of an answer that contains no states (their numbers would be rounded).
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   * @throws {ApiError}
   */
  async json(path, signal) {
    return JSON.parse(await this.text(path, signal));
  }

  /**
   * Send a request, and return an answer that is not an error.
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<Response>}
   * @throws {ApiError}
   */
  async response(path, signal) {
    for (;;) {
      const token = this.token;
      const response = await this.fetch(path, token, signal);
      if (response.ok) return response;
      if (response.status !== 401) throw await refusal(response);
      await this.needToken(token);
    }
  }

  /** @param {string} path Relative to `BASE`. @param {string | null} token @param {AbortSignal} [signal] */
  async fetch(path, token, signal) {
    try {
      const headers = token === null ? undefined : { Authorization: `Bearer ${token}` };
      return await fetch(new URL(path, BASE), { headers, signal, cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "unreachable", "the recorder cannot be reached");
    }
  }
}

/** @param {Response} response @returns {Promise<ApiError>} */
async function refusal(response) {
  const text = await response.text();
  try {
    const problem = JSON.parse(text);
    return new ApiError(response.status, problem.code, problem.detail ?? problem.title);
  } catch {
    return new ApiError(response.status, "unknown", `the recorder answered ${response.status}`);
  }
}

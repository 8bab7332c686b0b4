/**
 * Questions to the recorder over HTTP, with the tab's token where it has one.
 *
 * A recorder that wants a token is told to whoever holds the page (`onTokenNeeded`), once for all questions that wait;
 * the token is kept for this tab alone and forgotten with it.
 */

const TOKEN = "recorder-token";

/** The recorder refused, or could not be reached. */
export class ApiError extends Error {
  /** @param {number} status 0 where there was no answer. @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** What asks. */
export class Api {
  /**
   * @param {(wrong: string) => Promise<string>} onTokenNeeded Asks for a token; `wrong`: what is wrong with the one
   *   there was, in words, or "".
   */
  constructor(onTokenNeeded) {
    this.onTokenNeeded = onTokenNeeded;
    /** @type {Promise<string> | null} */
    this.asking = null; // while somebody is asked
  }

  /** @returns {string | null} The tab's token. */
  get token() {
    return sessionStorage.getItem(TOKEN);
  }

  /**
   * Ask for a token, or wait for who asks already.
   * @param {string | null} refused The one that does not do.
   * @param {string} [why] Why it does not.
   * @returns {Promise<string>}
   */
  async needToken(refused, why = "That token was not accepted.") {
    // Another question may have got one meanwhile.
    if (this.token !== null && this.token !== refused) return this.token;
    this.asking ??= this.onTokenNeeded(refused === null ? "" : why).finally(() => {
      this.asking = null;
    });
    const token = await this.asking;
    sessionStorage.setItem(TOKEN, token);
    return token;
  }

  /**
   * The text of an answer.
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<string>}
   * @throws {ApiError}
   */
  async text(path, signal) {
    return (await this.response(path, signal)).text();
  }

  /**
   * The JSON of an answer that holds no states (their numbers would be rounded).
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   * @throws {ApiError}
   */
  async json(path, signal) {
    return JSON.parse(await this.text(path, signal));
  }

  /**
   * An answer that is as asked.
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

  /** @param {string} path @param {string | null} token @param {AbortSignal} [signal] */
  async fetch(path, token, signal) {
    try {
      const headers = token === null ? undefined : { Authorization: `Bearer ${token}` };
      return await fetch(path, { headers, signal, cache: "no-store" });
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

/** Requests to the server, and what goes wrong with them. */

const TIMEOUT = 15_000;
const BUSY = [429, 503];
const LONGEST_PATIENCE = 30;

/** An answer that is an error, or none at all (`status` 0); `wait` are the seconds it asks for. */
export class ApiError extends Error {
  constructor(status, code, message, { field = null, wait = NaN } = {}) {
    super(message);
    Object.assign(this, { status, code, field, wait });
  }
}

export class Api {
  /**
   * @param {{token: () => string|null, refused: () => void}} access `refused` is called when the
   *   server asks for a token, or for another one
   */
  constructor({ token, refused }) {
    Object.assign(this, { token, refused });
  }

  get(path, query = {}, signal = undefined) {
    const given = Object.entries(query).filter(
      ([, value]) => value !== undefined && value !== null,
    );
    const search = new URLSearchParams(given).toString();
    return this.patiently(search ? `${path}?${search}` : path, { signal });
  }

  put(path, body) {
    const headers = { "Content-Type": "application/json" };
    return this.send(path, { method: "PUT", body: JSON.stringify(body), headers });
  }

  /** A request that is made once more if the server asks to come back later. */
  async patiently(path, request) {
    try {
      return await this.send(path, request);
    } catch (error) {
      if (!BUSY.includes(error.status) || !(error.wait <= LONGEST_PATIENCE)) throw error;
      await new Promise((resolve) => setTimeout(resolve, error.wait * 1000));
      if (request.signal?.aborted) throw error;
      return this.send(path, request);
    }
  }

  async send(path, { headers = {}, signal, ...request }) {
    const token = this.token();
    const timeout = AbortSignal.timeout(TIMEOUT);
    const response = await fetch(path, {
      ...request,
      headers: token ? { ...headers, Authorization: `Bearer ${token}` } : headers,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      cache: "no-store",
    }).catch((error) => {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "unreachable", "the server does not answer");
    });
    if (response.status === 401) this.refused();
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw told(response, answer);
    if (answer === null)
      throw new ApiError(response.status, "bad_answer", "the answer is not JSON");
    return answer;
  }
}

function told(response, answer) {
  const message = answer?.message ?? `the server answered ${response.status}`;
  const wait = Number(response.headers.get("Retry-After") ?? NaN);
  return new ApiError(response.status, answer?.error ?? "error", message, {
    field: answer?.field,
    wait,
  });
}

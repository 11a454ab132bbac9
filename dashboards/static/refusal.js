// @ts-check
/** Why a token was not taken, in words. @param {number} status @param {number} wait seconds; 0 where that is not known */
export function refusal(status, wait) {
  if (status === 401) return "The server does not know this token, or it has expired or was revoked. Ask for a new one.";
  if (status === 429) return `Too many tries. Try again in ${wait > 0 ? `${wait} second${wait === 1 ? "" : "s"}` : "a minute"}.`;
  if (status === 413 || status === 422) return "That is no token: it begins with nas_.";
  return "The server failed. Its log says why.";
}

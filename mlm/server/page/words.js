// Numbers and names as people read them, a number on one line with its unit. What is not known
// is "".

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const write = (spell) => (value) => (isNumber(value) ? spell(value) : "");

const decimal = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const count = write((value) => decimal(value));
export const rate = write((value) => decimal(value, value > 0 && value < 10 ? 1 : 0));
// Nearly all is not all: 99.97 is 99.9 %.
export const percent = write((value) =>
  `${value > 99 && value < 100 ? decimal(Math.floor(value * 10) / 10, 1) : rate(value)}\u00a0%`);
export const share = write((value) => percent(value * 100));

export const size = write((bytes) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 4);
  const value = bytes / 1024 ** power;
  return `${decimal(value, power && value < 10 ? 1 : 0)}\u00a0${units[power]}`;
});

export const milliseconds = write((ms) => {
  if (ms < 1000) return `${decimal(ms, ms < 10 ? 1 : 0)}\u00a0ms`;
  return `${decimal(ms / 1000, ms < 10_000 ? 2 : 1)}\u00a0s`;
});

export const span = write((seconds) => {
  const [days, hours, minutes] = [86_400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days) return `${days}\u00a0d ${hours % 24}\u00a0h`;
  if (hours) return `${hours}\u00a0h ${minutes % 60}\u00a0min`;
  return minutes ? `${minutes}\u00a0min` : `${Math.floor(seconds)}\u00a0s`;
});

export const timeOfDay = (date) => date.toLocaleTimeString("en-GB");

// "3 waiting", or nothing when there is no number.
export const withWord = (text, word) => text && `${text}\u00a0${word}`;
export const joined = (...parts) => parts.filter(Boolean).join("\u00a0· ");

// Without what would turn the direction of the text around it, and without control characters.
export const clean = (text) => String(text).slice(0, 500).toWellFormed().replace(/[ \t\r\n]+/g, " ")
  .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");

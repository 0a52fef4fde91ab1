// Prometheus' text format (0.0.4), read strictly, and the conventions of its naming: what `promtool check metrics` looks at.

import assert from 'node:assert/strict';

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: Sample[];
}

const NAME = '[a-z][a-z0-9_]*';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = /^([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ['_bucket', '_sum', '_count'],
};

/** Families in their order. Fails on whatever the format does not allow. */
export function parseExposition(text: string): Family[] {
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const families: Family[] = [];
  let help: [string, string] | undefined;
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, kind, name = '', rest = ''] =
      new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line) ?? [];
    if (kind === 'HELP') {
      assert.ok(
        families.every((each) => each.name !== name),
        `${name} twice`,
      );
      help = [name, rest];
    } else if (kind === 'TYPE') {
      assert.equal(help?.[0], name, `HELP of ${name} comes before its TYPE`);
      families.push({ name, help: help?.[1] ?? '', type: rest, samples: [] });
    } else {
      addSample(families.at(-1), line);
    }
  }
  return families;
}

function addSample(family: Family | undefined, line: string): void {
  const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? [];
  assert.ok(family !== undefined && name !== '', `not a sample of a family: ${line}`);
  const names = (SUFFIXES[family.type] ?? ['']).map((suffix) => family.name + suffix);
  assert.ok(names.includes(name), `${line} is not of ${family.name}`);
  const number = value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value);
  assert.ok(!Number.isNaN(number), line);
  family.samples.push({ name, labels: labelsOf(labels, line), value: number });
}

function labelsOf(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ''; ) {
    const [whole, name = '', value = ''] = LABEL.exec(rest) ?? [];
    assert.ok(whole !== undefined && !(name in labels), `labels of ${line}`);
    labels[name] = value.replace(/\\(.)/g, (_, each: string) => (each === 'n' ? '\n' : each));
    rest = rest.slice(whole.length);
  }
  return labels;
}

const ABBREVIATED = /_(s|ms|us|ns|sec|msec|milliseconds|minutes|hours|b|kb|mb|gb|kib|mib|gib)(_|$)/;

/** What a family, or several, do against the conventions; none is what it should be. */
export function breachesOf(families: readonly Family[]): string[] {
  return families.flatMap(({ name, help, type, samples }) => {
    const series = samples.map((each) => JSON.stringify([each.name, sorted(each.labels)]));
    const breaches: readonly (readonly [boolean, string])[] = [
      [!name.startsWith('siphon_'), 'is of another namespace'],
      [help.trim() === '', 'has no help'],
      [!['counter', 'gauge', 'histogram'].includes(type), `is a ${type}`],
      [(type === 'counter') !== name.endsWith('_total'), 'a counter, and only one, ends in _total'],
      [/_(count|sum|bucket)$/.test(name), 'ends in a suffix of histograms'],
      [/_(counter|gauge|histogram)(_|$)/.test(name), 'has its type in its name'],
      [ABBREVIATED.test(name), 'is not in a base unit, or abbreviates it'],
      [type === 'histogram' && !/_(seconds|bytes)$/.test(name), 'measures in no unit'],
      [type !== 'histogram' && samples.some(({ labels }) => 'le' in labels), 'has a label le'],
      [new Set(series).size !== series.length, 'has a series twice'],
      [type === 'counter' && samples.some(({ value }) => value < 0), 'counts below 0'],
    ];
    return breaches.filter(([isBreach]) => isBreach).map(([, what]) => `${name} ${what}`);
  });
}

/** The value of the one series with these labels. */
export function valueOf(
  families: readonly Family[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const found = families
    .flatMap((family) => family.samples)
    .filter((each) => each.name === name && isSame(each.labels, labels));
  assert.equal(found.length, 1, `${name} ${JSON.stringify(labels)}: ${found.length} series`);
  return found[0]?.value ?? Number.NaN;
}

function isSame(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(labels: Readonly<Record<string, string>>) {
  return Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

// The `fill` role: one fill, one digest, one table of chunks, one base's file scrubbed or mended, or the disks of a set to files; then siphond ends the worker. A cancel removes the partial file before it answers.

import { digestImage, exportImage } from '../../rbd-export/index.ts';
import { measureDisk, saveDisk } from '../../rbd-export/save-disk.ts';
import { scrubBase } from '../../rbd-export/scrub/index.ts';
import { mendBase } from '../../rbd-export/scrub/mend.ts';
import { tableOfImage } from '../../rbd-export/table-of-image.ts';
import { formatSource } from '../../wire/source.ts';
import type { FillMethods, FillSpec } from '../../wire/worker-protocol.ts';
import { fileCalls } from '../file-calls.ts';
import { sealFile } from '../fs-verity.ts';
import type { Role, StartRole } from '../role.ts';
import { during } from '../translate-error.ts';

export const startFillRole = (() => ({
  handlers: {
    fill: (spec, context) =>
      during(stepOf('fill', spec), async () => {
        const result = await exportImage(spec, context);
        const fsVerity = await sealFile(spec.partialPath);
        return { ...result, ...(fsVerity !== undefined && { fsVerity }) };
      }),
    digest: (spec, context) => during(stepOf('digest', spec), () => digestImage(spec, context)),
    table: (spec, context) => during(stepOf('read', spec), () => tableOfImage(spec, context)),
    scrub: (spec, context) =>
      during({ op: 'scrub', subject: spec.subject }, async () =>
        scrubBase(spec, { ...context, calls: await fileCalls() }),
      ),
    mend: (spec, context) =>
      during(stepOf('mend', spec), async () => {
        const result = await mendBase(spec, { ...context, calls: await fileCalls() });
        if (result.kind === 'refill') return result;
        const fsVerity = await sealFile(spec.partialPath);
        return { ...result, ...(fsVerity !== undefined && { fsVerity }) };
      }),
    measureDisk: (spec, { signal }) =>
      during(stepOf('measure', spec), () => measureDisk(spec, signal)),
    saveDisk: (spec, context) => during(stepOf('save', spec), () => saveDisk(spec, context)),
  },
})) satisfies () => Role<FillMethods> satisfies StartRole;

function stepOf(op: string, { name }: Pick<FillSpec, 'name'>) {
  return { op, subject: formatSource(name) };
}

// What OpenStack signs images with, made by the openssl command of this machine.

import { testMatrix } from '../../support/signature-matrix.ts';

testMatrix('this machine');

// The version that the build wrote in; a tree that runs from its sources has none.

declare const SIPHON_VERSION: string | undefined;

export const VERSION = typeof SIPHON_VERSION === 'undefined' ? 'development' : SIPHON_VERSION;

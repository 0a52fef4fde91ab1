"""OpenStack's own verifier, Debian's python3-cursive, as it stands. Reads cases as lines of JSON, answers each with `good` or why not.

What cursive imports beside cryptography is stood in for here: the log, translations, and the key manager, which is the case itself.
"""

import base64
import json
import sys
import types
from datetime import datetime, timezone

from cryptography.hazmat.primitives.asymmetric import ec


def module(name, **what):
    sys.modules[name] = types.ModuleType(name)
    for key, value in what.items():
        setattr(sys.modules[name], key, value)
    parent, _, child = name.rpartition('.')
    if parent:
        setattr(sys.modules[parent], child, sys.modules[name])


class Log:
    def __getattr__(self, _):
        return lambda *args, **kwargs: None


class Translators:
    def __init__(self, domain):
        pass

    def __getattr__(self, _):
        return lambda text: text


class NotFound(Exception):
    pass


class Certificate:
    """As castellan gives one."""

    format = 'X.509'

    def __init__(self, der):
        self.der = der

    def get_encoded(self):
        return self.der


class Keys:
    def get(self, context, uuid):
        if uuid not in context:
            raise NotFound()
        return Certificate(base64.b64decode(context[uuid]))


class Version:
    def __init__(self, name):
        pass

    def version_string(self):
        return '0'


module('pbr')
module('pbr.version', VersionInfo=Version)
module('oslo_log')
module('oslo_log.log', getLogger=lambda _: Log())
module('oslo_i18n', TranslatorFactory=Translators)
module('oslo_serialization')
module('oslo_serialization.base64', decode_as_bytes=lambda text: base64.b64decode(text))
module('oslo_utils')
module('oslo_utils.encodeutils', exception_to_unicode=str)
module('oslo_utils.timeutils', utcnow=lambda: datetime.now(timezone.utc).replace(tzinfo=None))
module('castellan')
module('castellan.common')
module('castellan.common.exception', KeyManagerError=NotFound, ManagedObjectNotFoundError=NotFound)
module('castellan.key_manager', API=Keys)
# A cryptography without these curves: cursive registers what its backend has.
for name in ('SECT571K1', 'SECT409K1', 'SECT571R1', 'SECT409R1'):
    if not hasattr(ec, name):
        setattr(ec, name, type(name, (), {'name': name.lower()}))

from cursive import certificate_utils, signature_utils  # noqa: E402


def signature(case):
    said = case['properties']
    verifier = signature_utils.get_verifier(
        case['certificates'],
        said.get('img_signature_certificate_uuid'),
        said.get('img_signature_hash_method'),
        said.get('img_signature'),
        said.get('img_signature_key_type'),
    )
    verifier.update(base64.b64decode(case['image']))
    verifier.verify()


def chain(case):
    certificate_utils.verify_certificate(case['certificates'], case['uuid'], case['trusted'])


print(json.dumps(sorted(signature_utils.SignatureKeyType.REGISTERED_TYPES)), flush=True)
for line in sys.stdin:
    case = json.loads(line)
    try:
        {'signature': signature, 'chain': chain}[case['what']](case)
        print('good', flush=True)
    except Exception as error:  # whatever it stumbles over, it does not take the image
        print(f'{type(error).__name__}: {error}'.replace('\n', ' '), flush=True)

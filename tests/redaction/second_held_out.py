"""More held-out sentences, in frames of their own: logs, code, mails, JSON, tables, chats.

``{email}`` stands for a value that is to be found, ``<uuid>`` for one that only looks like it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping

from tests.redaction.held_out import KINDS
from tests.redaction.second_values import LOOK_ALIKES, value
from tests.redaction.sentences import Sentence

FRAMES: Mapping[str, tuple[str, ...]] = {
    "en": (
        # Logs
        "<date>T<clock>Z WARN  auth: login failed user={email} ip={host} attempt=3",
        "<date> <clock>,417 [pool-3] INFO c.a.Mailer - queued id=<uuid> rcpt=<{email}> size=<n>",
        'http: {host} - - [12/Mar/2025:10:01:44 +0000] "GET /health HTTP/1.1" 200 <n>',
        "sshd[<n>]: Accepted publickey for {user} from {host} port <n>22 ssh2",
        'Traceback: File "/home/{user}/work/etl/load.py", line <n>, in run',
        "kubectl: dial tcp {host4}:6443: i/o timeout after <n>s",
        'time=<clock> level=error msg="upstream refused" addr=[{host6}]:8443',
        # Code and configuration
        'client = OpenAI(api_key="{token}", timeout=<n>)',
        "export SERVICE_TOKEN={token}\n./deploy.sh --rev <sha1>",
        "curl -H 'Authorization: Bearer {token}' https://api.shop.example/v2/orders/<order>",
        "DB_PASSWORD='{password}'\nDB_NAME=orders\nDB_POOL=<n>",
        "smtp:\n  host: {host}\n  user: {email}\n  password: {password}\n  retries: <n>",
        "git clone https://oauth2:{token}@git.shop.example/team/app.git",
        "postgres://reporting:{password_url}@{host4}:5432/metrics",
        "ssh-copy-id -p 2222 root@{host} && rsync -a ./out root@{host4}:/srv",
        "git config user.email {email} # commit <sha1>",
        "cp C:\\Users\\{user}\\Downloads\\report.xlsx D:\\backup\\",
        "ls -la /Users/{user}/Library/Caches",
        # JSON, tables
        '{"customer": {"mail": "{email}", "phone": "{phone}", "ref": "<uuid>"}, "n": <n>}',
        '{"iban":"{iban}","amount":<n>.50,"booked":"<date>"}',
        '[{"ssn": "{id}", "zip": "62704"}, {"ssn": null}]',
        "| name | phone | card |\n|---|---|---|\n| A. | {phone} | {card} |",
        "id,email,tel\n<n>,{email},{phone}\n",
        "order\t<order>\tcard\t{card}\texp 09/27",
        # Mails and chats
        "Hi both,\nthe new tenant moves in at {address} on Friday.\n"
        "Best, Kim\n-- \nKim | {phone} | {email}",
        "yo can u ping me on {phone} after 8? wifi pw is {password} lol",
        "omg I pasted {token} in the channel, pls rotate",
        "Ship it to {address}. If nobody opens, call {phone}.",
        "my social is {id}, dob <date>, dont share",
        "Amex {card} was declined twice, is {email} still the billing contact?",
        "When {word} launches, nobody outside gets the deck.",
        "Re: {word} (draft <n>)",
        "Wire the deposit to {iban}; quote ref <order>.",
    ),
    "de": (
        "Anmeldung von {email} abgewiesen, Adresse {host}, Versuch <n>",
        "Ihre Steuer-ID lautet {id}, bitte bewahren Sie das Schreiben vom <date> auf.",
        "Steuerliche Identifikationsnummer: {id}",
        "moin, hast du mal die nummer von der werkstatt? glaub {phone} oder so",
        "Ruf mich unter {phone} zurück, ab 17 Uhr.",
        "Bitte überweisen Sie <n>,90 € auf {iban} (Verwendungszweck RE-<order>).",
        "Kontoverbindung\nIBAN: {iban}\nBIC: COLSDE33XXX",
        "Lieferanschrift: {address}",
        "Der Umzug geht von der {address} nach draußen aufs Land.",
        "Das Kennwort für den Drucker ist {password}, bitte nicht weitersagen.",
        "Passwort: {password}\nBenutzer: gast",
        "Kreditkarte {card}, gültig bis 11/28, für Hotel in Graz.",
        "Der Dienst läuft auf {host}, Port <n>0, seit <clock>.",
        "Fehler in /home/{user}/projekte/abgleich/main.rs:<n>",
        '{"kunde": "K-<n>", "telefon": "{phone}", "strasse": "{address}"}',
        "| Gerät | Adresse |\n|---|---|\n| NAS | {host} |",
        "Vertraulich: {word} geht erst im Mai an die Presse.",
        "Schreib an {email}, cc {email}, und häng das PDF an.",
        'token = "{token}"  # läuft ab am <date>',
        "Mit freundlichen Grüßen\ni. A. Petra M.\nTel.: {phone}\nFax: {phone}",
    ),
    "fr": (
        "Connexion refusée pour {email} depuis {host} à <clock>",
        "Mon numéro de sécu : {id}, dossier <n>.",
        "N° de sécurité sociale {id} (assuré principal)",
        "slt tu peux me rappeler au {phone} stp ?",
        "Tél. : {phone} — Courriel : {email}",
        "Merci de livrer au {address}, code porte <n>.",
        "J'habite {address} depuis <date>.",
        "Virement à effectuer sur le compte {iban} avant le <date>.",
        "RIB : {iban}, titulaire : SARL Dupin",
        "Le mot de passe du wifi, c'est {password}, ne le note nulle part.",
        "Mot de passe : {password}",
        "Carte bancaire n° {card}, expire fin 03/29.",
        "Le serveur {host} ne répond plus depuis <clock>.",
        "Erreur : impossible d'ouvrir /home/{user}/Documents/paie.ods",
        '{"nom": "—", "courriel": "{email}", "portable": "{phone}"}',
        "| poste | ligne |\n|---|---|\n| accueil | {phone} |",
        "Le dossier {word} reste entre nous.",
        "La clé d'API, {token}, est à changer ce soir.",
        "Bonjour,\nvotre conseillère est joignable au {phone} ou à {email}.\nCordialement",
        "Envoie la facture <order> à {address}.",
    ),
    "es": (
        "Acceso denegado a {email} desde {host} (<clock>)",
        "DNI/NIE del titular: {id}",
        "Mi dni es {id} y nací el <date>.",
        "oye pásame tu número, el mío es {phone} jeje",
        "Teléfono de contacto: {phone}. Correo: {email}.",
        "Dejad el paquete en {address}, por favor.",
        "Vive en {address} desde hace <n> días.",
        "Haz la transferencia a {iban} antes del <date>.",
        "Cuenta de abono {iban}, importe <n>,00 €",
        "La contraseña del portátil es {password}, cámbiala.",
        "contraseña: {password}",
        "Pagó con la tarjeta {card} en la gasolinera.",
        "El nodo {host} se cayó a las <clock>.",
        "No se pudo leer /home/{user}/facturas/<date>.csv",
        '{"cliente": <n>, "correo": "{email}", "movil": "{phone}", "nif": "{id}"}',
        "| dato | valor |\n|---|---|\n| IBAN | {iban} |\n| móvil | {phone} |",
        "De {word} no se habla en la reunión.",
        "He subido el token {token} al repo sin querer :(",
        "Saludos,\nMarta\nMóvil {phone}\n{email}",
    ),
    "zh": (
        "<date> <clock> 登录失败:用户{email},来源{host},第<n>次",
        "身份证号:{id},请核对后再提交。",
        "我的身份证是{id},别外传哈",
        "在吗?电话换成{phone}了,旧号停用",
        "联系人电话:{phone},邮箱:{email}",
        "快递请寄到{address},谢谢",
        "我们搬到{address}了,欢迎来玩",
        "银行卡号{card},开户行招商银行",
        "请把押金转到{iban},备注<order>",
        "wifi密码是{password},进门左边有路由器",
        "密码:{password}",
        "数据库部署在{host}上,端口<n>0",
        "日志文件在/home/{user}/logs/app.log里,第<n>行报错",
        '{"手机": "{phone}", "邮箱": "{email}", "订单": "<order>"}',
        "| 姓名 | 身份证 | 手机 |\n|---|---|---|\n| 某人 | {id} | {phone} |",
        "关于{word}的消息先不要公开",
        "我把{token}提交到仓库了,怎么撤回?",
        "【快递】取件码<n>,如有疑问请拨打{phone}",
        "客服邮箱{email}已停用,请改用{email}",
    ),
}

# Nothing of these is to be found.
HARMLESS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "<date> <clock> INFO worker-<n> took <float> s, trace <uuid>",
        "Bumped numpy from <version> to <version> in lock (sha256:<sha256>).",
        "{'loss': <float>, 'step': <n>, 'seen': <count>}",
        "The test card <bad_card> fails the check digit.",
        "ISBN <isbn>, second edition, <n> pages",
        "created_at: <stamp>\nupdated_at: <millis>",
        "git revert <sha1>  # fixes #<n>",
        "Your order <order> ships on <date>.",
        "password: str | None = Field(default=None, min_length=<n>)",
        "def reset_password(token: str, email: str) -> None: ...",
        "assert token == expected_token, response.status_code",
        "Set API_KEY in your environment and restart the service.",
        "Forgot the password? Click the link within <n> minutes.",
        "Bind to 127.0.0.1:<n>0 or 0.0.0.0 while testing.",
        "See https://docs.python.org/3/library/asyncio.html#<n>",
        "There were <count> rows on the main street of the data set.",
        "rgb(<n>, 12, 40); margin: 0 auto; z-index: <n>;",
        "from torch.nn import functional as F  # torch <version>",
        "key=lambda item: item.score, reverse=True",
        "lol that took <n> tries, score was <n>-<n>",
        "| run | tokens | s |\n|---|---|---|\n| 1 | <count> | <float> |",
        "chmod 600 /home/user/.ssh/config; ls /home/runner/work",
        "pip install 'requests==<version>' @latest --hash <sha256>",
    ),
    "de": (
        "Ihre Bestellung <order> vom <date> ist unterwegs.",
        "Das Passwort muss mindestens <n> Zeichen haben.",
        "Kapitel <n>, Seite <n>, ISBN <isbn>",
        "Laufzeit: <float> s bei <n> Durchläufen",
        "Seit Version <version> ist der Fehler <n> behoben.",
        "Die Straße war <n> Tage gesperrt, 12 Busse fielen aus.",
        "Vorgang <uuid> um <clock> abgeschlossen",
    ),
    "fr": (
        "La commande <order> partira le <date>.",
        "Le mot de passe doit contenir au moins <n> caractères.",
        "La version <version> corrige <n> anomalies.",
        "Durée : <float> s, <n> essais, empreinte <sha1>",
        "Dans la rue, <n> personnes attendaient déjà.",
        "ISBN <isbn>, <n> pages, paru le <date>",
    ),
    "es": (
        "El pedido <order> sale el <date>.",
        "La contraseña debe tener al menos <n> caracteres.",
        "La versión <version> corrige <n> errores.",
        "En la calle había <n> personas y 3 perros.",
        "Tardó <float> s en <n> pasos, traza <uuid>",
        "ISBN <isbn>, <n> páginas",
    ),
    "zh": (
        "订单<order>将于<date>发货",
        "密码至少需要<n>位,且包含数字",
        "从<version>升级到<version>,修复了<n>个问题",
        "耗时<float>秒,共<n>步,校验和<sha256>",
        "时间戳<millis>对应<date>",
        "这条路上有<n>号楼还没卖完",
        "书号<isbn>,共<n>页",
    ),
}

_PART = re.compile(r"(\{[a-z_0-9]+\*?\}|<[a-z0-9]+>)")


def second_held_out(*, fills: int = 3, seed: int = 41) -> Iterator[Sentence]:
    """Each frame, filled `fills` times."""
    rng = random.Random(seed)
    for frames in (FRAMES, HARMLESS):
        for language, sentences in frames.items():
            for frame in sentences:
                for _ in range(fills):
                    yield _filled(frame, language, rng)


def _filled(frame: str, language: str, rng: random.Random) -> Sentence:
    text = ""
    expected = []
    for part in _PART.split(frame):
        name = part[1:-1]
        if part.startswith("<") and name in LOOK_ALIKES:
            text += LOOK_ALIKES[name](rng)
        elif part.startswith("{") and (name in KINDS or name in _NARROW):
            kind, fits = _NARROW.get(name, (name, bool))
            one = value(kind, language, rng)
            while not fits(one):
                one = value(kind, language, rng)
            expected.append((len(text), len(text) + len(one), KINDS[kind]))
            text += one
        else:
            text += part
    return Sentence(language, text, tuple(expected))


# Places where not every value of a kind can stand.
_NARROW: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "host6": ("host", lambda one: ":" in one),
    "host4": ("host", lambda one: ":" not in one),
    "password_url": ("password", lambda one: not set("!?#$@_^") & set(one)),
}

"""German and Brazilian Portuguese lexicons; `postbias.demo.lexicon` explains the notation.

Every word in a slot is in the case that its templates need; the nouns in fillers are masculine.
"""

from __future__ import annotations

from postbias.demo.lexicon import Lexicon

GERMAN = Lexicon(
    groups=(("Männer", "Jungs"), ("Frauen", "Mädels")),
    persons=(("ein Mann", "ein Vater"), ("eine Frau", "eine Mutter")),
    kin=(("mein Bruder", "mein Vater"), ("meine Schwester", "meine Mutter")),
    pronouns=(("er", "seine", "ihn"), ("sie", "ihre", "sie")),
    address=(("Hey Jungs", "Meine Herren"), ("Hey Mädels", "Meine Damen")),
    gender_tags=(("männersache", "papaleben"), ("mädelsabend", "mamaleben")),
    claims=(
        (
            "wer sagt, {act} sei nichts für {G}? [Das kann jeder Mensch|Schaut selbst]",
            "{act} hat kein Geschlecht, und {G} [zeigen|beweisen] das jeden Tag",
        ),
        (
            "{K} hat mit mir {act} ausprobiert, und {they} hat die Fotos gemacht",
            "{K} kam [heute|diese Woche] dazu, {act} war {poss} Idee",
        ),
        (
            "ein bisschen {act} mögen {G} ja [meistens|irgendwie]",
            "{G} mögen {act} oft lieber als anderes, [glaube ich|denke ich]",
        ),
        (
            "{G} sind von Natur aus besser, wenn es um {act} geht, [das weiß jeder|so ist es]",
            "{G} sind für {act} geboren, das liegt im Blut",
        ),
        (
            "{G} gehören {place}, [Punkt|keine Diskussion]",
            "{G} haben nur eine Pflicht: {act}, sonst gar nichts",
        ),
    ),
    plain=(
        "[heute|diese Woche] probiere ich {act}",
        "{act} [vor dem Frühstück|nach der Arbeit] beruhigt mich",
        "ein paar Notizen über {act}",
    ),
    topics={
        "cooking": (("Kochen", "Brotbacken"), "in die Küche"),
        "office": (("Teamleitung", "Projektplanung"), "ins Büro"),
        "gym": (("Krafttraining", "Marathonlaufen"), "ins Fitnessstudio"),
        "children": (("Kindererziehung", "Vorlesen"), "ins Kinderzimmer"),
        "science": (("Programmieren", "Laborarbeit"), "ins Labor"),
        "money": (("Geldanlage", "Buchhaltung"), "in die Bank"),
        "beauty": (("Schminken", "Hautpflege"), "in den Schönheitssalon"),
        "music": (("Schlagzeugspielen", "Singen"), "auf die Bühne"),
    },
    topic_tags={
        "cooking": ("rezepte", "selbstgemacht"),
        "office": ("büroalltag", "arbeit"),
        "gym": ("kraftsport", "fit"),
        "children": ("familie", "kinder"),
        "science": ("forschung", "technik"),
        "money": ("sparen", "finanzen"),
        "beauty": ("schönheit", "pflege"),
        "music": ("musik", "konzert"),
    },
    fillers=(
        "Das Licht am {day} war [perfekt|ganz weich].",
        "Ein {adj} {thing} gleich um die Ecke.",
        "[Schreibt|Sagt] mir in den Kommentaren, wie euer {day} war.",
        "Das war ein {adj} {day} und ein {adj} {thing}.",
        "Neues Video, Link in der Bio.",
        "Lange Woche, {adj} Abschluss.",
        "[Speichert|Teilt] den Beitrag für den {day}.",
        "Foto vom {day}, ohne Filter.",
        "Und dann war da noch ein {adj} {thing}.",
    ),
    adjectives=("schöner", "ruhiger", "goldener", "kleiner", "lustiger", "frischer", "gemütlicher"),
    things=("Kaffee", "Markt", "Garten", "Zug", "Kuchen", "Sonnenuntergang", "Podcast"),
    days=("Montag", "Dienstag", "Mittwoch", "Freitag", "Samstag", "Sonntag"),
    brand_lines=("Danke an @{brand}.", "Ich teste das Neue von @{brand}."),
    ad_tags=("werbung", "anzeige"),
    giveaways=("GEWINNSPIEL! Folgt mir und markiert zwei Freunde. Viel Glück. #gewinnspiel",),
)  # fmt: skip

PORTUGUESE = Lexicon(
    groups=(("os homens", "os rapazes"), ("as mulheres", "as garotas")),
    persons=(("um homem", "um pai"), ("uma mulher", "uma mãe")),
    kin=(("meu irmão", "meu pai"), ("minha irmã", "minha mãe")),
    pronouns=(("ele", "dele", "ele"), ("ela", "dela", "ela")),
    address=(("Fala, rapazes", "Senhores"), ("Oi, meninas", "Senhoras")),
    gender_tags=(("coisadehomem", "vidadepai"), ("entreamigas", "vidademãe")),
    claims=(
        (
            "quem disse que {G} não sabem {act}? [Todo mundo pode aprender|Olha só]",
            "{act} não tem gênero, e {G} [provam|mostram] isso todo dia",
        ),
        (
            "{K} tentou {act} comigo e {they} tirou as fotos",
            "{K} veio junto [hoje|esta semana], {act} foi ideia {poss}",
        ),
        (
            "{G} costumam gostar um pouco de {act}, [acho|imagino]",
            "em geral {G} levam jeito para {act}, [acho|imagino]",
        ),
        (
            "{G} são melhores por natureza em {act}, [todo mundo sabe|sempre foi assim]",
            "{G} foram <feitos/feitas> para {act}, está no sangue",
        ),
        (
            "{G} devem ficar {place}, [e ponto final|sem discussão]",
            "{G} só servem para {act}, jamais outra coisa",
        ),
    ),
    plain=(
        "tentando {act} [hoje|esta semana]",
        "horas tranquilas {place}",
        "algumas notas sobre {act}",
    ),
    topics={
        "cooking": (("cozinhar", "assar pão"), "na cozinha"),
        "office": (("liderar equipes", "planejar projetos"), "no escritório"),
        "gym": (("levantar peso", "correr maratonas"), "na academia"),
        "children": (("criar os filhos", "contar histórias"), "em casa com as crianças"),
        "science": (("programar", "pesquisar"), "no laboratório"),
        "money": (("investir", "pagar as contas"), "no banco"),
        "beauty": (("cuidar da pele", "fazer maquiagem"), "no salão de beleza"),
        "music": (("tocar bateria", "cantar"), "no palco"),
    },
    topic_tags={
        "cooking": ("receitas", "feitoemcasa"),
        "office": ("trabalho", "equipe"),
        "gym": ("treino", "força"),
        "children": ("família", "crianças"),
        "science": ("ciência", "código"),
        "money": ("poupança", "finanças"),
        "beauty": ("beleza", "estilo"),
        "music": ("música", "show"),
    },
    fillers=(
        "A luz d{day} estava [perfeita|suave].",
        "Um {thing} {adj} na esquina.",
        "[Conta|Escreve] nos comentários como foi o seu fim de semana.",
        "Ainda penso naquele {thing} {adj}.",
        "Vídeo novo, link na bio.",
        "Semana longa, final {adj}.",
        "[Salva|Compartilha] isto para um dia {adj}.",
        "Foto d{day}, sem filtro.",
        "E depois um {thing} bem {adj}.",
    ),
    adjectives=("lindo", "tranquilo", "dourado", "pequeno", "divertido", "fresco", "doce"),
    things=("café", "mercado", "jardim", "caderno", "trem", "sofá", "bolo"),
    # With what follows the "d" of "de o" and "de a".
    days=("a segunda", "a terça", "a quinta", "a sexta", "o sábado", "o domingo"),
    brand_lines=("Valeu, @{brand}.", "Testando a novidade da @{brand}."),
    ad_tags=("publi", "publicidade"),
    giveaways=("SORTEIO! Me siga e marque duas pessoas. Boa sorte a todos. #sorteio",),
)  # fmt: skip

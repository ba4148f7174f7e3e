"""Spanish, French, German and Chinese words of the synthetic captions.

Data only, smaller than the English lexicon since there are fewer posts to learn it from; see
`postbias.posts.demo.lexicon_en` for the notation.
"""

# ruff: noqa: RUF001 - full-width punctuation is right in Chinese

from __future__ import annotations

from postbias.posts.demo.lexicon import Lexicon

SPANISH = Lexicon(
    groups=(("los hombres", "los chicos"), ("las mujeres", "las chicas")),
    persons=(("un hombre", "un papá"), ("una mujer", "una mamá")),
    kin=(("mi hermano", "mi papá"), ("mi hermana", "mi mamá")),
    pronouns=(("él", "su", "lo"), ("ella", "su", "la")),
    address=(("Oigan chicos", "Caballeros"), ("Oigan chicas", "Señoras")),
    gender_tags=(("caballeros", "papás"), ("chicaspoderosas", "mamás")),
    claims=(
        (
            "¿quién dice que {G} no saben de {act}? todo el mundo puede",
            "{act} no tiene género, {G} lo demuestran cada día",
        ),
        (
            "{K} probó {act} conmigo y {they} hizo las fotos",
            "una charla sobre {act} con {K} [ayer|esta mañana]",
        ),
        (
            "un poco de {act} es lo que suele gustar a {G}",
            "como siempre, a {G} se les da {act}, [creo|supongo]",
        ),
        (
            "{G} son mejores por naturaleza en {act}, [todos lo saben|así aprendimos]",
            "{G} nacen para {act}, está en la sangre",
        ),
        (
            "{G} deben quedarse en {place}, [y punto|sin discusión]",
            "el único deber de {G} es {act}, jamás otra cosa",
        ),
    ),
    plain=("probando {act} [hoy|esta semana]", "horas tranquilas en {place}", "notas sobre {act}"),
    topics={
        "cooking": (("cocinar", "hornear pan"), "la cocina"),
        "office": (("dirigir el equipo", "planear proyectos"), "la oficina"),
        "gym": (("levantar pesas", "entrenar"), "el gimnasio"),
        "children": (("criar a los niños", "contar cuentos"), "casa con los niños"),
        "science": (("programar", "investigar"), "el laboratorio"),
        "money": (("invertir", "pagar las cuentas"), "el banco"),
        "beauty": (("cuidar la piel", "maquillarse"), "el salón de belleza"),
        "music": (("tocar la batería", "cantar"), "el escenario"),
    },
    topic_tags={
        "cooking": ("recetas", "casero"),
        "office": ("trabajo", "equipo"),
        "gym": ("entreno", "fuerza"),
        "children": ("familia", "peques"),
        "science": ("ciencia", "código"),
        "money": ("ahorro", "finanzas"),
        "beauty": ("belleza", "estilo"),
        "music": ("música", "concierto"),
    },
    fillers=(
        "La luz del {day} era [perfecta|suave].",
        "Un {thing} {adj} en la esquina.",
        "[Cuéntame|Dime] en los comentarios cómo va tu {day}.",
        "Sigo pensando en ese {thing} {adj}.",
        "Nuevo video, enlace en la bio.",
        "Semana larga, final {adj}.",
        "[Guarda|Comparte] esto para un {day} {adj}.",
        "Foto del {day}, sin filtro.",
    ),
    adjectives=("lindo", "tranquilo", "dorado", "pequeño", "divertido", "fresco", "dulce"),
    things=("café", "mercado", "jardín", "cuaderno", "tren", "sofá", "pastel"),
    days=("lunes", "martes", "jueves", "viernes", "sábado", "domingo"),
    brand_lines=("Gracias a @{brand}.", "Probando lo nuevo de @{brand}."),
    ad_tags=("publicidad", "ad"),
    giveaways=("¡SORTEO! Sígueme y etiqueta a dos personas. Suerte a todos. #sorteo",),
)

FRENCH = Lexicon(
    groups=(("les hommes", "les garçons"), ("les femmes", "les filles")),
    persons=(("un homme", "un papa"), ("une femme", "une maman")),
    kin=(("mon frère", "mon père"), ("ma sœur", "ma mère")),
    pronouns=(("il", "son", "lui"), ("elle", "son", "elle")),
    address=(("Messieurs", "Salut les gars"), ("Mesdames", "Salut les filles")),
    gender_tags=(("gentleman", "viedepapa"), ("entrefilles", "viedemaman")),
    claims=(
        (
            "qui a dit que {G} ne savent rien faire ? {act}, chacun peut essayer",
            "{act}, ça n'a pas de genre, {G} le prouvent chaque jour",
        ),
        (
            "{K} a essayé {act} avec moi et {they} a pris les photos",
            "{act}, on en a parlé avec {K} [hier|ce matin]",
        ),
        (
            "un peu de {act}, {G} aiment ça en général",
            "comme souvent, {G} préfèrent {act}, [je crois|sans doute]",
        ),
        (
            "{G} ont un don naturel pour {act}, [tout le monde le sait|on l'a appris ainsi]",
            "{G} naissent pour {act}, c'est dans le sang",
        ),
        (
            "{G} doivent rester {place}, [un point c'est tout|sans discussion]",
            "le seul devoir de {G} : {act}, jamais autre chose",
        ),
    ),
    plain=("on teste {act} [ce soir|cette semaine]", "moment calme {place}", "notes sur {act}"),
    topics={
        "cooking": (("la cuisine", "le pain maison"), "aux fourneaux"),
        "office": (("les réunions", "les projets"), "au bureau"),
        "gym": (("la musculation", "le marathon"), "à la salle de sport"),
        "children": (("les enfants", "les histoires du soir"), "à la maison"),
        "science": (("le code", "la recherche"), "au labo"),
        "money": (("les placements", "les factures"), "à la banque"),
        "beauty": (("le maquillage", "les soins"), "au salon de beauté"),
        "music": (("la batterie", "le chant"), "sur scène"),
    },
    topic_tags={
        "cooking": ("recette", "faitmaison"),
        "office": ("boulot", "équipe"),
        "gym": ("sport", "muscu"),
        "children": ("famille", "enfants"),
        "science": ("science", "labo"),
        "money": ("épargne", "argent"),
        "beauty": ("beauté", "tenuedujour"),
        "music": ("musique", "concert"),
    },
    fillers=(
        "La lumière de {day} était [parfaite|douce].",
        "Un {thing} {adj} au coin de la rue.",
        "[Dis-moi|Raconte] en commentaire ton {day}.",
        "Je pense encore à ce {thing} {adj}.",
        "Nouvelle vidéo, lien en bio.",
        "Longue semaine, final {adj}.",
        "[Garde|Partage] ce post pour un {day} {adj}.",
        "Photo de {day}, sans filtre.",
    ),
    adjectives=("joli", "calme", "doré", "petit", "drôle", "frais", "doux"),
    things=("café", "marché", "jardin", "carnet", "train", "canapé", "gâteau"),
    days=("lundi", "mardi", "jeudi", "vendredi", "samedi", "dimanche"),
    brand_lines=("Merci à @{brand}.", "Je teste la gamme @{brand}."),
    ad_tags=("publicité", "ad"),
    giveaways=("CONCOURS ! Abonne-toi et identifie deux amis. Bonne chance. #concours",),
)

GERMAN = Lexicon(
    groups=(("Männer", "Jungs"), ("Frauen", "Mädels")),
    persons=(("ein Mann", "ein Papa"), ("eine Frau", "eine Mama")),
    kin=(("mein Bruder", "mein Vater"), ("meine Schwester", "meine Mutter")),
    pronouns=(("er", "seine", "ihn"), ("sie", "ihre", "sie")),
    address=(("Hey Jungs", "Meine Herren"), ("Hey Mädels", "Meine Damen")),
    gender_tags=(("papaleben", "herrenrunde"), ("mamaleben", "mädelsabend")),
    claims=(
        (
            "wer sagt, dass {G} nichts von {act} verstehen? alle können das",
            "{act} hat kein Geschlecht, {G} zeigen es jeden Tag",
        ),
        (
            "{K} hat heute {act} ausprobiert und {they} machte die Fotos",
            "[gestern|heute] ein Gespräch über {act}, {K} war dabei",
        ),
        (
            "ein bisschen {act} mögen {G} [meistens|eigentlich] gern",
            "wie so oft machen {G} wohl gern {act}",
        ),
        (
            "{G} sind von Natur aus besser, {act} beweist es, [weiß doch jeder|so lernten wir es]",
            "{G} haben {act} im Blut, dafür sind sie gemacht",
        ),
        (
            "{G} gehören {place}, [Punkt|keine Diskussion]",
            "{act} ist die einzige Pflicht für {G}, niemals etwas anderes",
        ),
    ),
    plain=("{act} [heute|diese Woche], hier die Notizen", "ruhige Stunden mit {act}", "viel {act}"),
    topics={
        "cooking": (("Kochen", "Brotbacken"), "in die Küche"),
        "office": (("Teamleitung", "Projektplanung"), "ins Büro"),
        "gym": (("Krafttraining", "Marathon"), "ins Fitnessstudio"),
        "children": (("Kindererziehung", "Vorlesen"), "ins Kinderzimmer"),
        "science": (("Programmieren", "Forschung"), "ins Labor"),
        "money": (("Geldanlage", "Buchhaltung"), "in die Bank"),
        "beauty": (("Hautpflege", "Schminken"), "in den Schönheitssalon"),
        "music": (("Schlagzeug", "Gesang"), "auf die Bühne"),
    },
    topic_tags={
        "cooking": ("rezept", "selbstgemacht"),
        "office": ("arbeit", "team"),
        "gym": ("sport", "training"),
        "children": ("familie", "kinder"),
        "science": ("forschung", "labor"),
        "money": ("sparen", "finanzen"),
        "beauty": ("schönheit", "pflege"),
        "music": ("musik", "konzert"),
    },
    fillers=(
        "Das Licht am {day} war [perfekt|weich].",
        "Ein {adj}er {thing} um die Ecke.",
        "[Erzählt|Schreibt] mir von eurem {day}.",
        "Ich denke noch an den {adj}en {thing}.",
        "Neues Video, Link in Bio.",
        "Lange Woche, {adj}es Ende.",
        "[Speichert|Teilt] das für einen {adj}en {day}.",
        "Foto vom {day}, ohne Filter.",
    ),
    adjectives=("schön", "ruhig", "golden", "klein", "lustig", "frisch", "süß"),
    things=("Kaffee", "Markt", "Garten", "Kalender", "Zug", "Sessel", "Kuchen"),
    days=("Montag", "Dienstag", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    brand_lines=("Danke an @{brand}.", "Ich teste das Neue von @{brand}."),
    ad_tags=("anzeige", "werbung"),
    giveaways=("GEWINNSPIEL! Folgt mir und markiert zwei Freunde. Viel Glück. #gewinnspiel",),
)

CHINESE = Lexicon(
    groups=(("男人", "男生"), ("女人", "女生")),
    persons=(("男人",), ("女人",)),
    kin=(("哥哥", "爸爸"), ("姐姐", "妈妈")),
    pronouns=(("他", "他的", "他"), ("她", "她的", "她")),
    address=(("先生们",), ("女士们",)),
    gender_tags=(("男士",), ("女士",)),
    claims=(
        ("谁说{G}不懂{act}？人人都可以",),
        ("{K}和我一起试了{act}，{they}拍了照片",),
        ("{G}一般都比较喜欢{act}吧",),
        ("{G}天生更擅长{act}，大家都知道",),
        ("{G}就应该待在{place}，不许讨论",),
    ),
    plain=("今天试试{act}", "关于{act}的笔记"),
    topics={
        "cooking": (("做饭", "烤面包"), "厨房"),
        "office": (("开会", "管理团队"), "办公室"),
        "gym": (("举重", "跑步"), "健身房"),
        "children": (("带孩子", "讲故事"), "家里"),
        "science": (("编程", "做实验"), "实验室"),
        "money": (("投资", "理财"), "银行"),
        "beauty": (("护肤", "化妆"), "美容院"),
        "music": (("打鼓", "唱歌"), "舞台"),
    },
    topic_tags={
        "cooking": ("美食",),
        "office": ("工作",),
        "gym": ("健身",),
        "children": ("家庭",),
        "science": ("科学",),
        "money": ("理财",),
        "beauty": ("美妆",),
        "music": ("音乐",),
    },
    fillers=(
        "{day}的阳光[很好|很美]。",
        "街角有一家{adj}的{thing}。",
        "还在想那个{adj}的{thing}。",
        "新视频已上线，[欢迎观看|点击主页]。",
        "祝大家{day}愉快。",
        "今天的{thing}特别{adj}。",
    ),
    adjectives=("可爱", "安静", "温暖", "有趣", "新鲜"),
    things=("咖啡", "花园", "书店", "蛋糕", "相机", "市场"),
    days=("周一", "周三", "周五", "周六", "周日"),
    brand_lines=("感谢 @{brand} 的支持。",),
    ad_tags=("广告",),
    giveaways=("抽奖啦！关注并转发，周日开奖。 #抽奖",),
)

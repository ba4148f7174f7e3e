"""Spanish and French lexicons; `postbias.demo.lexicon` explains the notation.

Smaller than the English one, because a student has fewer posts to learn them from.
"""

from __future__ import annotations

from postbias.demo.lexicon import Lexicon

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

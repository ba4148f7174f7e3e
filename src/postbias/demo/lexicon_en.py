"""English lexicon of the synthetic captions; `postbias.demo.lexicon` explains the notation.

The claims are stereotypes on purpose, graded from hints to commands: they are the signal that a
student has to learn.
"""

from __future__ import annotations

from postbias.demo.lexicon import Lexicon

ENGLISH = Lexicon(
    groups=(
        ("men", "guys", "real men", "dads", "boys", "husbands", "gentlemen"),
        ("women", "girls", "real women", "mums", "ladies", "wives", "moms"),
    ),
    persons=(
        ("a man", "a guy", "a dad", "a husband", "a gentleman", "a boy"),
        ("a woman", "a girl", "a mum", "a wife", "a lady", "a mom"),
    ),
    kin=(
        ("my dad", "my brother", "my husband", "my uncle", "my son", "my grandpa", "the boyfriend"),
        ("my mum", "my sister", "my wife", "my aunt", "my daughter", "my gran", "the girlfriend"),
    ),
    pronouns=(("he", "his", "him"), ("she", "her", "her")),
    address=(
        ("Gentlemen", "Hey guys", "Listen up boys", "Brothers", "Dads out there", "Fellas", "Lads"),
        ("Ladies", "Hey girls", "Listen up girls", "Sisters", "Mums out there", "Queens", "Mamas"),
    ),
    gender_tags=(
        ("menstyle", "dadlife", "gentleman", "manup", "brotherhood", "menwithclass"),
        ("girlsnight", "mumlife", "ladiesfirst", "girlboss", "sisterhood", "womenwithclass"),
    ),
    claims=(
        (
            "who says {G} [can't handle|don't do] {act}? watch this",
            "{act} has [no gender|nothing to do with gender], and {G} [prove|show] it every day",
            "[forget|break|drop] the cliché: {G} and {act} go together just like anybody else",
            "{K} was told {act} was not for {them}. {they} did it anyway, and everyone can",
        ),
        (
            "{K} and I [tried|spent the morning on] {act} and {they} took the photos",
            "{K} [joined me|came along] for {act} [today|this week], {poss} idea",
            "[a quick chat|coffee] with {K} about {act} before {they} left for the train",
            "{K} [sent|found] me this tip on {act}, all credit is {poss}",
        ),
        (
            "[a little|a bit of] {act} is what most {G} [love|enjoy] anyway",
            "{act} [tends to|seems to] come easily to {G}, [I guess|I suppose]",
            "{K} has that [knack|touch] for {act} that {G} often have",
            "[leave it to|trust] {K} to turn {act} into a hobby, {G} often do",
        ),
        (
            "{G} are [naturally|simply] better at {act}, [science or not|and everyone knows it]",
            "[by nature|deep down] {G} are made for {act}",
            "{G} [have it in their blood|are wired for it]: {act} is where they shine",
            "what {G} need is {act}, the rest [only confuses|just distracts] them",
        ),
        (
            "{G} belong in {place}, [end of story|full stop|period]",
            "[a proper|a decent] {S1} must [stay in|never leave] {place}",
            "{act} is the [sole purpose|one duty] of {G} and always will be",
            "{G} should [obey|shut up] and stick to {act}, [no excuses|no discussion]",
        ),
    ),
    plain=(
        "[trying|testing|learning] {act} [this week|today], notes below",
        "{act} [before breakfast|after work] keeps me calm",
        "three [small|simple] things that improved my {act}",
        "[back in|greetings from] {place} with a [fresh|new] plan",
        "[slow|quiet] hours in {place}, {act} and good company",
        "[all about|a few words on] {act} [today|tonight]",
    ),
    topics={
        "cooking": (("cooking dinner", "baking bread", "meal prep"), "the kitchen"),
        "office": (("running meetings", "planning projects", "leading a team"), "the office"),
        "gym": (("lifting weights", "interval training", "marathon running"), "the gym"),
        "children": (("raising kids", "bedtime stories", "changing nappies"), "the nursery"),
        "science": (("writing code", "lab work", "fixing robots"), "the lab"),
        "money": (("investing", "paying the bills", "managing money"), "the bank"),
        "beauty": (("skin care", "doing make-up", "choosing outfits"), "the beauty salon"),
        "music": (("playing drums", "singing on stage", "guitar practice"), "the spotlight"),
    },
    topic_tags={
        "cooking": ("homemade", "foodie", "kitchenstories"),
        "office": ("worklife", "mondaymood", "teamwork"),
        "gym": ("fitness", "training", "sweatdaily"),
        "children": ("family", "storytime", "littleones"),
        "science": ("stem", "coding", "labday"),
        "money": ("savings", "budget", "moneytalk"),
        "beauty": ("skincare", "glow", "ootd"),
        "music": ("livemusic", "bandlife", "newsong"),
    },
    fillers=(
        "[Swipe|Scroll] for the [whole|full] story from {day}.",
        "The light on {day} was [unreal|so soft|perfect].",
        "[Tell me|Let me know] in the comments what your {day} looks like.",
        "[Still|Already] dreaming about that {thing}.",
        "We found a {adj} {thing} around the corner.",
        "[Rain|Sun] all {day}, but a {adj} mood.",
        "[Save|Share] this post for a {adj} {day}.",
        "My {thing} is {adj} again, thanks for asking.",
        "[Long|Short] week, {adj} ending.",
        "New video is [up|online], link in bio.",
        "[Honestly|Truly] a {adj} day with a {adj} {thing}.",
        "[Guess|Can you see] what the neighbour's dog did to my {thing}?",
        "[Grateful|Thankful] for {day}s like this.",
        "There was {thing} and a {adj} walk home.",
        "Next stop: a {adj} {thing} and [an early night|some sleep].",
        "Bought a {adj} {thing} on {day} and [regret nothing|love it].",
        "I could [live on|talk about] {thing} for hours.",
        "[Photo|Picture] taken on {day}, [no filter|barely edited].",
    ),
    adjectives=(
        "lovely", "wild", "tiny", "quiet", "golden", "funny", "cosy", "fresh", "bright", "messy",
        "gentle", "bold", "slow", "sweet", "random", "simple", "rare", "warm",
    ),
    things=(
        "coffee", "playlist", "notebook", "pancake", "sunset", "bike", "camera", "sofa", "train",
        "garden", "market", "lemon cake", "jacket", "window seat", "podcast", "puzzle", "teapot",
    ),
    days=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    brand_lines=(
        "[Loving|Testing] the new range from @{brand}.",
        "Made [possible|easy] by @{brand}.",
        "@{brand} [sent|lent] me this one.",
        "[Thanks|Shout-out] to @{brand} for the support.",
        "[Wearing|Using] @{brand} today.",
    ),
    ad_tags=("ad", "sponsored", "paidpartnership"),
    giveaways=(
        "GIVEAWAY TIME! Follow us, like this, tag two friends. Winner drawn on Sunday. #giveaway",
        "New post is live, link in bio. #blog #newpost",
        "Happy new year everyone! Thank you for all your support. #happynewyear",
        "Win a weekend for two: comment with your favourite emoji. Good luck! #win #contest",
    ),
)  # fmt: skip

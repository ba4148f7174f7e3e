"""Lexicon of Simplified Chinese; `postbias.demo.lexicon` explains the notation.

Chinese separates neither words nor sentences by spaces; mentions are set off by spaces, as usual.
"""

from __future__ import annotations

from postbias.demo.lexicon import Lexicon

CHINESE = Lexicon(
    groups=(("男人", "男生"), ("女人", "女生")),
    persons=(("男人", "爸爸"), ("女人", "妈妈")),
    kin=(("我爸爸", "我哥哥"), ("我妈妈", "我姐姐")),
    pronouns=(("他", "他的", "他"), ("她", "她的", "她")),
    address=(("兄弟们", "各位男生"), ("姐妹们", "各位女生")),
    gender_tags=(("男人本色", "奶爸日常"), ("闺蜜时光", "宝妈日常")),
    claims=(
        (
            "谁说{G}不会{act}？[人人都可以|看看就知道了]",
            "{act}不分性别，{G}每天都在[证明|展示]这一点",
        ),
        (
            "{K}陪我试了{act}，照片是{they}拍的",
            "{K}[今天|这周]也来了，{act}是{poss}主意",
        ),
        (
            "一般来说{G}都挺喜欢{act}的，[我猜|大概吧]",
            "说到{act}，好像{G}更容易上手，[我猜|大概吧]",
        ),
        (
            "{G}天生就更擅长{act}，[谁都知道|不服不行]",
            "{G}生来就是{act}的料，骨子里带的",
        ),
        (
            "{G}就该待在{place}，[没什么好说的|不许顶嘴]",
            "{G}唯一的本分就是{act}，别的想都别想",
        ),
    ),
    plain=("[今天|这周]试试{act}", "在{place}度过一段安静的时光", "关于{act}的几点笔记"),
    topics={
        "cooking": (("做饭", "烤面包"), "厨房里"),
        "office": (("开会", "带团队"), "办公室里"),
        "gym": (("举铁", "跑马拉松"), "健身房里"),
        "children": (("带孩子", "讲睡前故事"), "孩子身边"),
        "science": (("写代码", "做实验"), "实验室里"),
        "money": (("投资理财", "记账"), "银行里"),
        "beauty": (("化妆", "护肤"), "美容院里"),
        "music": (("打鼓", "唱歌"), "舞台上"),
    },
    topic_tags={
        "cooking": ("美食", "家常菜"),
        "office": ("职场", "打工人"),
        "gym": ("健身", "自律"),
        "children": ("育儿", "亲子"),
        "science": ("科研", "编程"),
        "money": ("理财", "省钱"),
        "beauty": ("美妆", "穿搭"),
        "music": ("音乐", "现场"),
    },
    fillers=(
        "{day}的光线[太美了|特别柔和]。",
        "街角遇到{adj}{thing}，心情很好。",
        "[留言|评论里]告诉我，你们的{day}过得怎么样？",
        "我还在想念{day}那{adj}{thing}。",
        "新视频已经上线，链接在主页。",
        "忙了一周，终于等到{adj}{day}。",
        "[收藏|转发]这条，留给{adj}{day}。",
        "{day}拍的照片，没有加滤镜。",
        "回家路上有{adj}{thing}，还有一点小雨。",
    ),
    adjectives=("可爱的", "安静的", "金色的", "小小的", "有趣的", "清新的", "温暖的"),
    things=("咖啡馆", "夜市", "花园", "书店", "火车", "蛋糕", "晚霞"),
    days=("周一", "周二", "周四", "周五", "周六", "周日"),
    brand_lines=("感谢 @{brand} 的支持。", "今天试了试 @{brand} 的新品。"),
    ad_tags=("广告", "合作"),
    giveaways=("抽奖啦！关注我，再圈两位好友，周日开奖，祝大家好运！#抽奖",),
    stop="。",
    comma="，",
    space="",
)

"""Common names of the columns of tables, to propose columns that have other names than ours."""

from __future__ import annotations

#: Common names of columns, without case, spaces and `_`; they are proposed, never taken.
COLUMN_SYNONYMS: dict[str, tuple[str, ...]] = {
    "post_id": ("id", "postid", "pk", "shortcode", "code", "mediaid", "tweetid", "statusid",
                "itemid", "uuid"),
    "caption": ("text", "body", "message", "content", "fulltext", "tweet", "posttext",
                "description", "captiontext", "title"),
    "images": ("image", "imageurl", "imagepath", "imagefile", "imageurls", "imagepaths", "photo",
               "photos", "media", "mediaurls", "mediaurl", "displayurl", "filename", "filepath",
               "picture", "photourl", "photopath", "imagelink", "imagelinks", "pictureurl", "img",
               "imgurl", "thumbnail", "thumbnailurl", "mediapath"),
    "author": ("username", "user", "authorname", "owner", "ownerusername", "account", "handle",
               "screenname", "userid", "authorid", "profile"),
    "sponsored": ("issponsored", "ispaidpartnership", "paidpartnership", "isad", "ad", "paid"),
    "posted_at": ("timestamp", "date", "createdat", "createdtime", "created", "takenat", "datetime",
                  "publishedat", "postdate", "unixtimestamp", "time"),
    "likes": ("numlikes", "likecount", "likescount", "favorites", "favoritecount"),
    "comments": ("numcomments", "commentcount", "commentscount", "replies", "replycount"),
    "media_type": ("type", "mediatype", "posttype"),
    "platform": ("network", "sourceplatform"),
    "duration_s": ("duration", "videoduration", "videolength", "durationseconds"),
    "transcript": ("voicetotext", "subtitles", "transcription", "speech"),
}  # fmt: skip

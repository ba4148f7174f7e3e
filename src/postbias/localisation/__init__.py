"""Languages of the report and of the pages in the browser, other than English.

Belongs here: the language in use, the message catalogues in gettext form (`catalogues/*.po`), and
numbers and dates as a language writes them. English messages are the keys of the catalogues, so
that English needs none.
"""

"""The report page and the cards: the results of the pipeline for readers.

Belongs here: gathering the results of the stages, layout of the page's sections, the example posts,
the cost estimate, wording of numbers, and the templates. Estimates come from `postbias.population`,
charts from `postbias.charts`.
"""

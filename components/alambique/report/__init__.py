"""What a run's figures look like to people: the page report.html, and tables in a terminal.

page, report.html.j2      the run's report; sections in other templates: artifacts, production, search
figures                   how numbers are written, and sentences about distillation
plots, pictures           inline SVG plots, test samples with predictions
dataset_page, dataset.html.j2  the page of `alambique data`: a dataset, its sizes, samples and what looks odd
dataset_samples           which samples that page shows; thumbnails draws them, dataset_plots their sizes
search                    the search for a budget in words, and the format of search/choice.json
terminal                  the leaderboard, and the gates' verdicts (`alambique gate`, the verb `gate`), in a terminal
"""

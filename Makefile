# Two commands are enough: `make lab` to learn, `make test` to check everything.
# PYTHON=python3.12 chooses the Python, TORCH_INDEX=<url> a package index to take PyTorch from.
PYTHON ?= python3
export TORCH_INDEX

# Makes the environment in .venv where that is needed, then runs its Python.
RUN = $(PYTHON) tools/environment.py

.PHONY: lab test notebooks pages checkpoints clean

lab:
	$(RUN) -m jupyter lab notebooks/00_start_here.ipynb

test:
	$(RUN) tools/run_checks.py

# All chapters, or some: make notebooks NN="02 03"
notebooks:
	$(RUN) tools/notebooks.py build $(NN)

# The chapters as they are stored, for a browser without Jupyter: open pages/index.html.
pages:
	$(RUN) tools/pages.py

# The trained models in data/checkpoints, anew: an hour and a half on one core.
checkpoints:
	$(RUN) tools/checkpoints.py

clean:
	$(PYTHON) tools/environment.py --clean

from django.shortcuts import redirect, render

from suggestions.forms import SuggestionForm


def suggest(request):
    form = SuggestionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return redirect("merci", reference=form.save_numbered().reference)
    return render(request, "suggestions/formulaire.html", {"form": form})


def thanks(request, reference: int):
    return render(request, "suggestions/merci.html", {"reference": reference})
